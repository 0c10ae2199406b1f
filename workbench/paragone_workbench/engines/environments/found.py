"""The environments that there are, and which interpreter an engine runs in."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragone import Backend
from paragone.worker import Environment
from paragone_workbench.paths import data_folder

__all__ = [
    "MARKER",
    "Found",
    "beside",
    "declared",
    "find",
    "folder_of",
    "interpreter",
    "is_whole",
    "python_in",
    "size_of",
]

MARKER = "paragone.json"
"""Written into an environment when all is installed: one without is not whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An environment on this machine."""

    name: str
    """The backend's."""
    folder: Path
    whole: bool
    """Whether its installation came to its end, and its interpreter is there."""
    cuda: str = ""
    """The major version of CUDA that it was made for."""
    outdated: bool = False
    """Whether the backend asks for other requirements by now."""
    size: int = 0
    """Bytes on disk."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return python_in(self.folder)


def declared(backend: Backend) -> Environment | None:
    """Return what a backend declares for its environment, if it should have one."""
    environment = getattr(backend, "environment", None)
    return environment if isinstance(environment, Environment) else None


def folder_of(name: str) -> Path:
    """Return where the environment of a backend belongs."""
    return data_folder() / "environments" / name


def beside(folder: Path, what: str) -> Path:
    """Return the hidden name by which something of an environment stands beside it while it is made."""
    return folder.with_name(f".{folder.name}.{what}")


def python_in(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / "bin" / "python"


def interpreter(backend: Backend, chosen: str | None) -> str | None:
    """Return the interpreter for a backend's worker: the chosen one, its environment's, or None for our own."""
    if chosen is not None or declared(backend) is None:
        return chosen
    folder = folder_of(backend.name)
    return str(python_in(folder)) if is_whole(folder) else None


def is_whole(folder: Path) -> bool:
    """Whether an environment's installation came to its end, and its interpreter is there."""
    return exists(folder / MARKER) and exists(python_in(folder))


def exists(path: Path) -> bool:
    """Whether there is something at a path that may be looked at."""
    try:
        return path.exists()
    except OSError:  # in a folder of somebody else's, for one
        return False


def find(backends: Mapping[str, Backend]) -> tuple[Found, ...]:
    """Return the environments on this machine, by name, also of backends that are gone. Walks their files."""
    try:
        folders = sorted(
            path for path in folder_of("").iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError:
        return ()
    return tuple(_found(folder, backends.get(folder.name)) for folder in folders)


def _found(folder: Path, backend: Backend | None) -> Found:
    made: dict[str, Any] | None = None
    with contextlib.suppress(OSError, ValueError):
        made = json.loads((folder / MARKER).read_text())
    if not isinstance(made, dict):
        return Found(name=folder.name, folder=folder, whole=False, size=size_of(folder))
    environment = None if backend is None else declared(backend)
    current = [list(build.requirements) for build in environment.builds] if environment else []
    return Found(
        name=folder.name,
        folder=folder,
        whole=is_whole(folder),
        cuda=str(made.get("cuda", "")),
        outdated=bool(current) and made.get("requirements") not in current,
        size=size_of(folder),
    )


def size_of(folder: Path) -> int:
    """Return the bytes that a folder's files take; a file with several names counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = Path(parent, name).lstat()
            except OSError:
                continue
            sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())
