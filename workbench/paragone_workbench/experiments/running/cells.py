"""The unfinished runs of an experiment, in the order of a schedule, and the seeds of runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from paragone import Backend, Json
from paragone.options import describe
from paragone.wire import to_json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.suites.saved_prompts import prompt_from
from paragone_workbench.experiments.suites.suite import SuitePrompt
from paragone_workbench.store import Experiment, History, RunKey, Store
from paragone_workbench.store.retry import retrying

PAGE = 1_000
"""Largest number of runs whose prompts are in memory at a time."""

_LARGEST_SEED = 2**31 - 1
"""The largest seed, since some servers store seeds as signed integers of 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A run to be executed."""

    key: RunKey
    prompt: SuitePrompt


async def unfinished_cells(
    history: History,
    experiment: Experiment,
    engines: Sequence[int],
    *,
    chosen: frozenset[int] | None = None,
    retry_failed: bool = False,
) -> AsyncGenerator[Cell, None]:
    """Yield the unfinished runs of some engines of an experiment.

    With several engines, the engine that comes first changes from prompt to prompt.
    Raises StoreError.
    """
    finished = ("done",) if retry_failed else ("done", "failed")
    number = 0
    async for prompts, states in _pages(history, experiment, engines, finished):
        for prompt in prompts:
            if chosen is not None and prompt.index not in chosen:
                continue
            for key in _keys(prompt.index, engines, experiment.repetitions, number):
                if states.get(key) not in finished:
                    yield Cell(key=key, prompt=prompt)
            number += 1


def _keys(prompt: int, engines: Sequence[int], repetitions: int, number: int) -> Iterator[RunKey]:
    for repetition in range(repetitions):
        first = (number + repetition) % len(engines)
        for engine in (*engines[first:], *engines[:first]):
            yield RunKey(prompt_index=prompt, engine_index=engine, repetition=repetition)


async def _pages(
    history: History, experiment: Experiment, engines: Sequence[int], finished: Sequence[str]
) -> AsyncGenerator[tuple[list[SuitePrompt], Mapping[RunKey, str]], None]:
    """Yield the prompts with runs that are not finished, in pages, with the states of their saved runs. Raises StoreError."""
    size = max(1, PAGE // (len(experiment.engines) * experiment.repetitions))
    number, runs = experiment.number, len(engines) * experiment.repetitions
    first = 0

    def read(store: Store) -> tuple[Sequence[tuple[int, Json | None]], Mapping[RunKey, str]]:
        rows = store.experiments.unfinished_prompts(number, first, size, engines, finished, runs)
        is_left = any(content is not None for _, content in rows)
        return rows, store.experiments.states(number, first, rows[-1][0]) if is_left else {}

    while (page := await retrying(history, read))[0]:
        rows, states = page
        yield [prompt_from(index, content) for index, content in rows if content is not None], states
        first = rows[-1][0] + 1


def _seed_of(cell: Cell) -> int:
    """Return the seed of a run, from 0 to 2³¹ − 1.

    The seed depends only on the messages and the repetition, so a prompt keeps its seeds when other prompts are added.
    """
    content = [cell.key.repetition, *map(to_json, cell.prompt.messages)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4], "big") & _LARGEST_SEED


def seed_option(cell: Cell, engine: EngineDefinition, backend: Backend | None) -> Mapping[str, Json]:
    """Return the sampling option with the seed of a run.

    Empty if the user has set the engine's seed, or if the engine's backend does not declare the standard option `seed`.
    """
    if backend is None or "seed" in engine.options:
        return {}
    declared = any(
        info.name == "seed" and (info.maximum is None or info.maximum >= _LARGEST_SEED)
        for info in describe(backend.sampling)
    )
    return {"seed": _seed_of(cell)} if declared else {}
