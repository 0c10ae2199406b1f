"""KV cache types as candidates: the same engine with numbers of other types in the KV cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from paragone import Backend, InputError
from paragone.options import describe
from paragone_workbench.engines.definitions import EngineDefinition, check_engine, with_options

_OPTIONS = frozenset({"type_k", "type_v", "cache_type"})
"""The names of load options that set the type of the KV cache, or of one half (keys or values) of the cache."""


def kv_candidates(
    engine: EngineDefinition, backend: Backend, types: Sequence[str]
) -> tuple[EngineDefinition, tuple[EngineDefinition, ...]]:
    """Return the engine with the default types of its backend, and a candidate for each distinct type in `types`.

    Both halves of the cache get the type. The name of each candidate ends in the type. Raises InputError if the
    backend has no option for the type, or a type is not one of the option's choices.
    """
    names = [info.name for info in describe(backend.load_options) if info.name in _OPTIONS]
    if not names:
        raise InputError(
            f"The KV cache of {engine.name} has no type that paragone can set: {backend.title} has no option for it.",
            hint="Use a backend that loads the model itself.",
        )
    default = dataclasses.replace(
        engine, options={name: value for name, value in engine.options.items() if name not in names}
    )
    candidates = tuple(
        with_options(
            dataclasses.replace(default, name=f"{engine.name} KV {kind}"), dict.fromkeys(names, kind), backend
        )
        for kind in dict.fromkeys(types)
    )
    for candidate in candidates:
        check_engine(candidate, backend)
    return default, candidates
