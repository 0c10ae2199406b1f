"""A backend that has options and no engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from paragone import Backend, Options, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Options):
    n_ctx: int = option(0, "Context window.", minimum=0)
    cache: Literal["f16", "q8_0"] = option("f16", "Kind of KV cache.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling(Options):
    temperature: float = option(0.8, "Temperature.", minimum=0)
    stop: tuple[str, ...] = option((), "Stop strings.")


class Paper(Backend):
    """Stands in for a backend whose options are all that is asked of it."""

    name = "paper"
    load_options = Load
    sampling = Sampling

    async def probe(self, python=None):
        raise NotImplementedError

    async def models(self, folders):
        raise NotImplementedError

    async def open(self, request, on_progress):
        raise NotImplementedError


@pytest.fixture
def paper() -> Paper:
    return Paper()
