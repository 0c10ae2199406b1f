"""The seeds of a suite: the same one for all engines, so that chance is the same for them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from paragone import Backend, Json
from paragone.options import describe
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.store import RunKey

__all__ = ["seed_of", "seed_option"]

_LARGEST = 2**31 - 1
"""Some servers keep seeds as signed numbers of 32 bits."""


def seed_of(key: RunKey) -> int:
    """Return the seed of a run, from 0 to 2³¹ − 1: it depends on its prompt's index and its repetition only."""
    digest = hashlib.sha256(f"{key.prompt_index} {key.repetition}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & _LARGEST


def seed_option(key: RunKey, engine: EngineDefinition, backend: Backend | None) -> Mapping[str, Json]:
    """Return the sampling option with the seed of a run.

    Empty if the user has set the engine's seed, or if its backend does not declare the standard option `seed`.
    """
    if backend is None or "seed" in engine.options:
        return {}
    declared = any(
        info.name == "seed" and (info.maximum is None or info.maximum >= _LARGEST)
        for info in describe(backend.sampling)
    )
    return {"seed": seed_of(key)} if declared else {}
