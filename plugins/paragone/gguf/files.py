"""Find GGUF models in folders, and check a file before it is loaded."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from paragone import InputError, ModelInfo
from paragone.gguf.header import GgufError, Header, read_header
from paragone.hub import folders_below, repository_of, snapshot_folders, stored_file

__all__ = ["check_model", "find_models", "parts", "usual_folders"]

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE | re.DOTALL)

_NO_MODELS = {
    "adapter": "is a LoRA adapter, not a model; open its model with the option lora",
    "mmproj": "is the image encoder of a model, not a model",
    "embedding": "is an embedding model, which does not generate text",
    "imatrix": "is an importance matrix, not a model",
}


class _File(NamedTuple):
    path: str
    size: int


def find_models(folders: Sequence[str]) -> list[ModelInfo]:
    """List the GGUF models in these folders and their subfolders, sorted by path. A split model is one item.

    The list leaves out image encoders (mmproj), and gives the problem of other files that cannot be loaded.
    Unreadable folders are skipped. A file of several revisions in Hugging Face's cache is listed once.
    """
    models: dict[tuple[str, ...], ModelInfo | None] = {}

    def add(files: list[_File], problem: str, name: str = "") -> None:
        stored = tuple(stored_file(file.path) for file in files)
        if stored not in models:
            models[stored] = _model(files[0].path, files, problem, name)

    split: defaultdict[tuple[str, int], dict[int, _File]] = defaultdict(dict)
    for file in sorted(set(_files(folders))):
        part = _PART.fullmatch(file.path)
        if part:
            split[part[1], int(part[3])][int(part[2])] = file
        else:
            add([file], "")
    for (prefix, count), parts in split.items():
        files = [parts[number] for number in sorted(parts)]
        missing = [number for number in range(1, count + 1) if number not in parts]
        problem = _missing(missing, count) if missing else ""
        add(files, problem, os.path.basename(prefix))  # noqa: PTH119
    return sorted((model for model in models.values() if model is not None), key=lambda model: model.model)


def usual_folders() -> list[str]:
    """Return the folders in which other programs keep GGUF files: llama.cpp, LM Studio, Hugging Face's tools.

    Sources: `fs_get_cache_directory` in llama.cpp's common/common.cpp, and LM Studio's documentation.
    """
    if sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    own = os.environ.get("LLAMA_CACHE") or f"{cache}/llama.cpp"
    return [own, "~/.lmstudio/models", "~/.cache/lm-studio/models", *snapshot_folders()]


def check_model(path: Path) -> Header:
    """Return the header of a model to load. Raises InputError if the model cannot be loaded."""
    shown = path.name or str(path)
    try:
        header = read_header(str(path), whole=True)
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.", hint="Check the path.") from error
    except PermissionError as error:
        raise InputError(f"You have no permission to read {path}.", hint="Check the file's mode.") from error
    except IsADirectoryError as error:
        hint = "Name one of the .gguf files in it." if any(path.glob("*.gguf")) else ""
        raise InputError(f"{path} is a folder, not a GGUF file.", hint=hint) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except GgufError as error:
        hint = "Download the file again." if "truncated" in str(error) or "damaged" in str(error) else _WANTED
        raise InputError(f"{shown} {error}.", hint=hint) from error
    except ValueError as error:  # a path with a null character in it
        raise InputError(f"{str(path)!r} is not a valid file path.") from error
    problem = _problem(header)
    if problem:
        raise InputError(f"{shown} {problem}.", hint=_WANTED)
    _check_parts(path)
    return header


def parts(path: Path) -> list[Path]:
    """Return all files of a split model that `check_model` has accepted, given the first one."""
    part = _PART.fullmatch(path.name)
    if not part:
        return [path]
    return [path.with_name(f"{part[1]}-{n:05d}-of-{part[3]}.gguf") for n in range(1, int(part[3]) + 1)]


_WANTED = "llama.cpp loads models in the GGUF format."


def _check_parts(path: Path) -> None:
    part = _PART.fullmatch(path.name)
    if not part:
        return
    if int(part[2]) != 1:
        raise InputError(
            f"{path.name} is a later part of a split model.",
            hint=f"Name {part[1]}-00001-of-{part[3]}.gguf instead.",
        )
    files = parts(path)
    missing = [number for number, file in enumerate(files, 1) if not file.exists()]
    if missing:
        raise InputError(f"{path.name} {_missing(missing, len(files))}.", hint="Download the missing parts.")


def _missing(missing: list[int], count: int) -> str:
    numbers = ", ".join(map(str, missing[:8])) + (" …" if len(missing) > 8 else "")
    parts = f"part {numbers} is" if len(missing) == 1 else f"the parts {numbers} are"
    return f"is one of {count} parts, and {parts} missing"


def _model(path: str, files: list[_File], problem: str, name: str) -> ModelInfo | None:
    """Describe a model; None if the file is an image encoder. `name` is the common part of a split model's file names."""
    header = Header()
    try:
        header = read_header(path)
        if _kind(header) == "mmproj":
            return None
        problem = problem or _problem(header)
    except GgufError as error:
        problem = str(error)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    name = name or os.path.basename(path).removesuffix(".gguf")  # noqa: PTH119
    repository = repository_of(path)
    return ModelInfo(
        model=path,
        name=f"{repository}/{name}" if repository else header.name or name,
        size=sum(file.size for file in files),
        quantization=header.quantization,
        context=header.context,
        architecture=header.architecture,
        problem=problem,
    )


def _kind(header: Header) -> str | None:
    if header.values.get(f"{header.architecture}.attention.causal") == 0:
        return "embedding"
    return "mmproj" if header.architecture == "clip" else header.kind


def _problem(header: Header) -> str:
    kind = _kind(header)
    if kind in _NO_MODELS:
        return _NO_MODELS[kind]
    return "" if header.architecture else "is damaged: its header does not name an architecture"


def _files(folders: Sequence[str]) -> Iterator[_File]:
    """Yield the GGUF files in these folders and their subfolders."""
    for _, files in folders_below(folders):
        for entry in files:
            if entry.name.lower().endswith(".gguf"):
                yield _File(entry.path, _size(entry))


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a broken link is listed with its problem
        return 0
