"""The identity of the model behind an engine, as the engine reports it.

All runs of an engine in an experiment need the same identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from paragone import LoadedModel, WeightsFile

Identity = Mapping[str, str]
"""Values of properties, by name."""

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
    """Return the differences of two identities, such as `the server was Ollama 0.13.5 and is Ollama 0.14.0`."""
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
