"""The environments on this machine, and the interpreter that an engine runs in."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paragone import Backend, Json
from paragone.json_values import text_at, texts_at
from paragone.worker import Environment
from paragone_workbench.paths import accessible, data_folder

MARKER = "paragone.json"
"""A file that is written at the end of an installation. An environment without this file is incomplete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledEnvironment:
    name: str
    folder: Path
    complete: bool
    """Whether the environment was installed to the end, and its interpreter exists."""
    cuda: str = ""
    """The major version of CUDA that the environment was created for."""
    outdated: bool = False
    """Whether the backend declares other requirements now."""
    size: int = 0
    """Bytes on disk."""


def declared_environment(backend: Backend) -> Environment | None:
    """Return the environment that a backend declares; None if it needs none."""
    environment = getattr(backend, "environment", None)
    return environment if isinstance(environment, Environment) else None


def environment_folder(name: str) -> Path:
    return data_folder() / "environments" / name


def sibling_path(folder: Path, suffix: str) -> Path:
    """Return a hidden path next to an environment, for temporary data while it is created."""
    return folder.with_name(f".{folder.name}.{suffix}")


def python_in(folder: Path) -> Path:
    return folder / "bin" / "python"


def interpreter(backend: Backend, chosen: str | None) -> str | None:
    """Return the interpreter for a backend's worker: `chosen`, or the environment's, or None for paragone's own."""
    if chosen is not None or declared_environment(backend) is None:
        return chosen
    folder = environment_folder(backend.name)
    return str(python_in(folder)) if is_complete(folder) else None


def is_complete(folder: Path) -> bool:
    """Whether an environment's installation was finished, and its interpreter exists."""
    return accessible(folder / MARKER) and accessible(python_in(folder))


def list_installed(backends: Mapping[str, Backend]) -> tuple[InstalledEnvironment, ...]:
    """Return the environments on this machine, sorted by name, also the environments of backends that are not installed.

    Reads the sizes of all files in the environments.
    """
    try:
        paths = environment_folder("").iterdir()
        folders = sorted(path for path in paths if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return ()
    return tuple(_found(folder, backends.get(folder.name)) for folder in folders)


def _found(folder: Path, backend: Backend | None) -> InstalledEnvironment:
    marker: Json = None
    with contextlib.suppress(OSError, ValueError):
        marker = json.loads((folder / MARKER).read_text())
    environment = None if backend is None else declared_environment(backend)
    current = [set(build.requirements) for build in environment.builds] if environment else []
    return InstalledEnvironment(
        name=folder.name,
        folder=folder,
        complete=isinstance(marker, dict) and is_complete(folder),
        cuda=text_at(marker, "cuda"),
        outdated=bool(marker and current) and {*texts_at(marker, "requirements")} not in current,
        size=size_of(folder),
    )


def size_of(folder: Path) -> int:
    """Return the bytes on disk that a folder's files use; a file with several hard links counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = Path(parent, name).lstat()
            except OSError:
                continue
            sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())
