"""Hugging Face's cache of downloaded models, which several backends search.

A repository's files are in `models--OWNER--NAME/snapshots/REVISION`, as links to `models--OWNER--NAME/blobs`. Revisions
share the blobs that they have in common. Source: huggingface_hub's `constants.py`, and its guide "Understand caching".
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path, PurePath

__all__ = ["repository_of", "snapshot_folders", "stored_file"]

_PREFIX = "models--"
_SNAPSHOTS = "snapshots"


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
    """Return the blob that a file in the cache links to, by which a file of several revisions counts once.

    The path of any other file is returned unchanged.
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
