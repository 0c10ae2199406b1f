"""The identity of engines and of the models behind them, and the digests of weights."""

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from paragone import Backend, InputError, Json, LoadedModel, WeightsFile
from paragone.files import open_regular_file
from paragone.threads import in_daemon_thread
from paragone.wire import from_json, to_json
from paragone_workbench.engines import definitions
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import accessible
from paragone_workbench.store import History, Store, StoreError
from paragone_workbench.store.votes import Measurement, MeasurementKind

_BLOCK = 2**22


def weights_in(manifest: Mapping[str, Json]) -> tuple[WeightsFile, ...]:
    """Return the files of weights that a manifest lists."""
    files = manifest.get("weights")
    if not isinstance(files, list | tuple):
        return ()
    try:
        return tuple(from_json(WeightsFile, file) for file in files)
    except (TypeError, ValueError):  # written by another version
        return ()


async def known_weights(history: History, files: Iterable[WeightsFile]) -> tuple[WeightsFile, ...]:
    """Return the files with the digests that the history has. Raises StoreError."""
    return await history.call(lambda store: tuple(_known(store, file) for file in files))


async def digest_weights(
    history: History, files: Iterable[WeightsFile], stopped: asyncio.Event | None = None
) -> tuple[WeightsFile, ...]:
    """Return the files, each with its SHA-256: computing takes a second or more per gigabyte, then the digest is
    saved in the history. Once `stopped` is set, only known digests are returned. A file that is gone or has
    changed gets no digest. A thread computes, so call this while nothing is measured. Raises StoreError."""
    stopping = asyncio.create_task((stopped or asyncio.Event()).wait())
    cancelled = threading.Event()
    found: list[WeightsFile] = []
    try:
        for file in await known_weights(history, files):
            digest = file
            if _lacks_digest(file) and not stopping.done():
                computing = asyncio.wrap_future(in_daemon_thread(functools.partial(_sha256, file, cancelled)))
                await asyncio.wait((computing, stopping), return_when=asyncio.FIRST_COMPLETED)
                digest = dataclasses.replace(file, sha256=computing.result() if computing.done() else None)
                with contextlib.suppress(StoreError):  # if the disk is full, the next call computes it again
                    await history.call(functools.partial(_save, digest))
            found.append(digest)
    finally:
        cancelled.set()
        stopping.cancel()
    return tuple(found)


def with_digest(store: Store, file: WeightsFile) -> WeightsFile:
    """Return a file with its digest, as `digest_weights` does, but compute in this thread."""
    found = _known(store, file)
    if _lacks_digest(found):
        found = dataclasses.replace(file, sha256=_sha256(file, threading.Event()))
        _save(found, store)
    return found


def _lacks_digest(file: WeightsFile) -> bool:
    return file.sha256 is None and file.size is not None and file.modified_ns is not None


def _known(store: Store, file: WeightsFile) -> WeightsFile:
    return (
        dataclasses.replace(file, sha256=store.measurements.weights_digest(file))
        if _lacks_digest(file)
        else file
    )


def _save(file: WeightsFile, store: Store) -> None:
    if file.sha256 is not None:
        store.measurements.save_weights_digest(file)


def _sha256(file: WeightsFile, cancelled: threading.Event) -> str | None:
    """Return the SHA-256 of a file; None if cancelled, or if its size or time of change differs from `file`."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError), open_regular_file(file.path) as content:
        while not cancelled.is_set() and (block := content.read(_BLOCK)):
            digest.update(block)
        status = os.fstat(content.fileno())
        if not cancelled.is_set() and (status.st_size, status.st_mtime_ns) == (file.size, file.modified_ns):
            return digest.hexdigest()
    return None


Identity = Mapping[str, str]

_FACTS = (
    "program",
    "version",
    "commit",
    "compiler",
    "instructions",
    "library",
    "server",
    "launch arguments",
    "parameters",
    "model file",
    "LoRA adapter",
    "draft model",
    "chat template",
)
"""Facts of an open model that change only if the model or the engine changes."""

_CHANGED = "time of change of "
"""The prefix of the name of a property that holds a file's time of change. The file's name follows the prefix."""

_SHOWN = ("program", "version", "commit", "server", "quantization")


def identity_of(loaded: LoadedModel, weights: Sequence[WeightsFile]) -> Identity:
    """Return the identity of an open model. `weights` are the model's files, with the known digests."""
    known: dict[str, str | None] = {
        "architecture": loaded.architecture,
        "quantization": loaded.quantization,
        **{name: loaded.facts.get(name) for name in _FACTS},
    }
    for file in weights:
        name = PurePath(file.path).name
        known[f"digest of {name}"] = file.sha256
        known[f"content of {name}"] = file.sample
        if file.modified_ns is not None:
            known[f"size of {name}"] = f"{file.size} bytes"
            known[f"{_CHANGED}{name}"] = str(file.modified_ns)
    if not weights and loaded.size is not None:
        known["size"] = f"{loaded.size} bytes"
    return {name: value for name, value in known.items() if value}


def without_times(identity: Identity) -> Identity:
    """Return an identity without the times at which files changed, which differ between the machines of a cluster."""
    return {name: value for name, value in identity.items() if not name.startswith(_CHANGED)}


def changes(before: Identity, now: Identity) -> list[str]:
    """Return the differences between two identities, such as `the server was Ollama 0.13.5 and is Ollama 0.14.0`."""
    both = before.keys() & now.keys()
    digested = {name.removeprefix("digest of ") for name in both if name.startswith("digest of ")}
    found = []
    for name, value in before.items():
        known_by_digest = not name.startswith("digest of ") and name.partition(" of ")[2] in digested
        if name in both and now[name] != value and not known_by_digest:
            found.append(f"the {name} was {_short(value)} and is {_short(now[name])}")
    return found


def identity_text(identity: Identity) -> str:
    """Return the identity as text for people and for comparisons: digests, sizes and versions, in one line."""
    files = [
        f"{name.partition(' of ')[2]} {_short(value)}"
        for name, value in identity.items()
        if name.startswith(("digest of ", "size of "))
    ]
    return ", ".join([*(identity[name] for name in _SHOWN if name in identity), *files])


def _short(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= 40 else f"{line[:12]}…"


def engine_identity(
    engine: definitions.EngineDefinition, backend: Backend | None, weights: Sequence[WeightsFile] = ()
) -> Json:
    """Return an engine's definition without secrets, and the path, size and time of change of each file that it
    names. For a model on a server, only the name is known. With `weights`, the files that an earlier run loaded,
    return the identity that the engine had in that run."""
    known = definitions.without_secrets(engine, backend)
    if backend is None or not backend.capabilities.local:
        return to_json(known)
    model = _file(engine.model, weights)
    if model is None:
        return to_json(known)
    found: list[Json] = [to_json(dataclasses.replace(known, model=model.path)), to_json(model)]
    for name, (_, info) in definitions.declared_options(backend).items():
        value = known.options.get(name)
        if info.outside == "file" and isinstance(value, str) and (file := _file(value, weights)) is not None:
            found.append(to_json(file))
    return found


def _file(name: str, weights: Sequence[WeightsFile]) -> WeightsFile | None:
    """Return the file called `name` in `weights`, else the current file on this machine; None if neither exists."""
    path = Path(definitions.expand_home(name))
    for file in weights:
        loaded = Path(file.path)
        if file.modified_ns is not None and (
            loaded == path or loaded.parts[-len(path.parts) :] == path.parts
        ):
            break
    else:
        if not accessible(path):
            return None
        file = WeightsFile.of(path)
    return dataclasses.replace(file, sha256=None, sample=None)


def measured_identity(
    engine: definitions.EngineDefinition, backend: Backend | None, weights: Sequence[WeightsFile] = ()
) -> str:
    """Return a digest of everything on which an engine's speed and distributions depend, but not its name and sampling
    options. With `weights`, the files that an earlier run loaded, the digest is that of the engine in that run."""
    options = engine.options
    if backend is not None:
        with contextlib.suppress(InputError):  # an option that this version of the backend does not declare
            options, _ = definitions.load_and_sampling_options(engine, backend)
    return identity_digest(
        engine_identity(dataclasses.replace(engine, name="", options=dict(options)), backend, weights)
    )


def measurement_of(
    kind: MeasurementKind,
    engines: Sequence[definitions.EngineDefinition],
    data: Mapping[str, Json],
    registry: Registry,
) -> Measurement:
    return Measurement(
        kind=kind,
        engines=tuple(map(registry.public, engines)),
        data=data,
        created=time.time(),
        identities=tuple(measured_identity(engine, registry.find(engine.backend)) for engine in engines),
    )


def identity_digest(identity: Json) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
