"""Search for models in folders with their subfolders, and in Hugging Face's cache, for several backends.

The cache has a repository's files in `models--OWNER--NAME/snapshots/REVISION`, as links to `models--OWNER--NAME/blobs`.
Revisions share equal blobs. Source: huggingface_hub's `constants.py`, and its guide "Understand caching".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePath

__all__ = ["folders_below", "is_folder", "repository_of", "snapshot_folders", "stored_file"]

_PREFIX = "models--"
_SNAPSHOTS = "snapshots"


def folders_below(folders: Sequence[str]) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """Yield these folders and their subfolders, each with its entries that are not folders.

    Follows links, visits each folder once, and skips unreadable folders.
    """
    waiting = [os.path.abspath(os.path.expanduser(folder)) for folder in folders]  # noqa: PTH100, PTH111
    entered: set[tuple[int, int]] = set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as scan:
                entries = list(scan)
        except OSError:
            continue
        files = []
        for entry in entries:
            if is_folder(entry):
                waiting.append(entry.path)
            else:
                files.append(entry)
        yield folder, files


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into an unreadable folder
        return False


def snapshot_folders() -> list[str]:
    """Return the folders with the files of each model repository in the cache, sorted."""
    try:
        return sorted(map(str, _cache().glob(f"{_PREFIX}*/{_SNAPSHOTS}")))
    except OSError:
        return []


def repository_of(path: str) -> str | None:
    """Return the repository, OWNER/NAME, of a file or folder in the cache; None for other paths."""
    parts = PurePath(path).parts
    for folder, below in pairwise(parts):
        if folder.startswith(_PREFIX) and below == _SNAPSHOTS:
            return folder.removeprefix(_PREFIX).replace("--", "/", 1)
    return None


def stored_file(path: str) -> str:
    """Return the blob that a file in the cache links to, the same for all revisions with this file.

    Return the path of any other file unchanged.
    """
    return os.path.realpath(path) if repository_of(path) is not None else path


def _cache() -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(name):
            return Path(os.path.expandvars(folder)).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(os.path.expandvars(home)).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"
