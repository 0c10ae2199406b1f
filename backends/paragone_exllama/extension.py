"""Where PyTorch compiles a library's part in CUDA, and what was left there by a process that was killed.

`torch.utils.cpp_extension.load` waits for as long as another process has its lock, a file that nobody
deletes where that process was killed: it would wait for ever.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

__all__ = ["extension_folder", "release_lock"]

_PATIENCE = 0.2
"""Seconds between two looks at who is still at work."""


def extension_folder(library: str, cuda: str) -> Path:
    """Return the folder of a library's extension for this interpreter and a PyTorch for CUDA `cuda`."""
    root = os.environ.get("TORCH_EXTENSIONS_DIR")
    if root is None:  # as in torch.utils.cpp_extension
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        tag = f"py{sys.version_info.major}{sys.version_info.minor}{sys.abiflags}_cu{cuda.replace('.', '')}"
        root = str(Path(cache, "torch_extensions", tag))
    return Path(root, f"{library}_ext")


def release_lock(folder: Path) -> None:
    """Delete the lock of an extension's folder if the process that made it is gone.

    The compilers that it started may be at work still: they are waited for.
    """
    folder = folder.resolve()
    lock = folder / "lock"
    if not lock.exists() or _is_open(lock):
        return
    while _is_worked_in(folder):
        time.sleep(_PATIENCE)
    lock.unlink(missing_ok=True)


def _is_open(path: Path) -> bool:
    """Whether a process that may be looked at has this file open."""
    return any(_leads_to(link, path) for process in _processes() for link in _entries(process / "fd"))


def _is_worked_in(folder: Path) -> bool:
    """Whether a process that may be looked at runs in this folder."""
    return any(_leads_to(process / "cwd", folder) for process in _processes())


def _processes() -> list[Path]:
    return [entry for entry in _entries(Path("/proc")) if entry.name.isdecimal()]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # it is another user's, or has ended
        return []


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path
    except OSError:
        return False
