"""The digests of weights. A file's digest is computed once, and saved in the history by path, size and time of change."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence

from paragone import Json, WeightsFile
from paragone.regular_file import open_regular_file
from paragone.threads import in_daemon_thread
from paragone.wire import from_json
from paragone_workbench.store import History

_BLOCK = 2**22


def weights_in(manifest: Mapping[str, Json]) -> tuple[WeightsFile, ...]:
    """Return the files of weights that a manifest lists. Manifests of older versions of paragone list none."""
    files = manifest.get("weights")
    if not isinstance(files, list | tuple):
        return ()
    try:
        return tuple(from_json(WeightsFile, file) for file in files)
    except (TypeError, ValueError):  # written by another version
        return ()


async def known_weights(history: History, files: Iterable[WeightsFile]) -> tuple[WeightsFile, ...]:
    """Return the files with the digests that the history has. Raises StoreError."""
    return tuple([await _with_digest(history, file, computed=False) for file in files])


async def digest_weights(history: History, files: Iterable[WeightsFile]) -> tuple[WeightsFile, ...]:
    """Return the files with the SHA-256 of each, which takes a second or more per gigabyte the first time.

    `files` is `LoadedModel.weights`, or the list in a manifest. The digests are saved in the history. A file
    that is gone or has changed since has no digest. Computing uses a thread, so call this while nothing is measured.
    Raises StoreError.
    """
    return tuple([await _with_digest(history, file, computed=True) for file in files])


async def digest_until(
    stopped: asyncio.Event, history: History, files: Sequence[WeightsFile]
) -> Sequence[WeightsFile]:
    """Return the result of `digest_weights` or, if `stopped` is set meanwhile, of `known_weights`. Raises StoreError."""
    digesting = asyncio.create_task(digest_weights(history, files))
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait((digesting, stopping), return_when=asyncio.FIRST_COMPLETED)
        return await (digesting if digesting.done() else known_weights(history, files))
    finally:
        digesting.cancel()
        stopping.cancel()


async def _with_digest(history: History, file: WeightsFile, *, computed: bool) -> WeightsFile:
    """Return a file with the digest in the history. With `computed`, compute a digest that the history lacks."""
    if file.sha256 is not None or file.size is None or file.modified_ns is None:
        return file
    digest = await history.call(lambda store: store.measurements.weights_digest(file))
    if digest is not None or not computed:
        return dataclasses.replace(file, sha256=digest)
    cancelled = threading.Event()
    try:
        digest = await asyncio.wrap_future(in_daemon_thread(lambda: _sha256(file, cancelled)))
    finally:
        cancelled.set()
    digested = dataclasses.replace(file, sha256=digest)
    if digest is not None:
        await history.call(lambda store: store.measurements.save_weights_digest(digested))
    return digested


def _sha256(file: WeightsFile, cancelled: threading.Event) -> str | None:
    """Return the SHA-256 of a file; None after a cancel, or if size or time of change differ from `file`."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError):
        if not _unchanged(file):
            return None
        with open_regular_file(file.path) as content:
            while block := content.read(_BLOCK):
                if cancelled.is_set():
                    return None
                digest.update(block)
        if _unchanged(file):
            return digest.hexdigest()
    return None


def _unchanged(file: WeightsFile) -> bool:
    return WeightsFile.of(file.path) == dataclasses.replace(file, sha256=None)
