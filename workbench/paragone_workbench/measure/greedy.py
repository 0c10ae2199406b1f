"""The sampling options of runs whose answers are compared or timed: always the likeliest token."""

from __future__ import annotations

from collections.abc import Mapping

from paragone import Json
from paragone.options import describe
from paragone_workbench.engines.handle import EngineHandle


def known_sampling(engine: EngineHandle) -> frozenset[str]:
    """Return the names of the sampling options that an engine has."""
    return (
        frozenset(info.name for info in describe(engine.backend.sampling)) if engine.backend else frozenset()
    )


def greedy(engine: EngineHandle, **more: Json) -> Mapping[str, Json]:
    """Return the sampling options for greedy answers, and the options `more`, without options that the engine lacks."""
    wanted: dict[str, Json] = {"temperature": 0, **more}
    known = known_sampling(engine)
    return {name: value for name, value in wanted.items() if name in known}
