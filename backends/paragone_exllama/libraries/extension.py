"""The folder in which PyTorch compiles a library's CUDA extension, and locks left by killed processes.

`torch.utils.cpp_extension.load` waits while another process holds its lock, which is a file. If that
process is killed, nobody deletes the file, and the wait never ends.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_CHECK_INTERVAL = 0.2
"""Seconds between two checks for running compilers."""


def extension_folder(library: str, cuda: str) -> Path:
    """Return the folder of a library's extension for this interpreter and a PyTorch built with CUDA `cuda`."""
    root = os.environ.get("TORCH_EXTENSIONS_DIR")
    if root is None:  # the same default as in torch.utils.cpp_extension
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        tag = f"py{sys.version_info.major}{sys.version_info.minor}{sys.abiflags}_cu{cuda.replace('.', '')}"
        root = str(Path(cache, "torch_extensions", tag))
    return Path(root, f"{library}_ext")


def release_lock(folder: Path) -> None:
    """Delete the lock of an extension's folder if the process that created the lock is gone.

    Waits for compilers that the killed process has left running.
    """
    folder = folder.resolve()
    lock = folder / "lock"
    if not lock.exists() or _is_open(lock):
        return
    while _is_working_folder(folder):
        time.sleep(_CHECK_INTERVAL)
    lock.unlink(missing_ok=True)


def _is_open(path: Path) -> bool:
    """Whether a visible process has this file open."""
    return any(_points_to(link, path) for process in _processes() for link in _entries(process / "fd"))


def _is_working_folder(folder: Path) -> bool:
    """Whether a visible process has this working folder."""
    return any(_points_to(process / "cwd", folder) for process in _processes())


def _processes() -> list[Path]:
    return [entry for entry in _entries(Path("/proc")) if entry.name.isdecimal()]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # the process belongs to another user, or has ended
        return []


def _points_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path
    except OSError:
        return False
