"""The unfinished runs of an experiment, in the order of a schedule, and the request that the experiment belongs to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from paragone import Backend, Json
from paragone.options import describe
from paragone.wire import to_json
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.identity import engine_identity
from paragone_workbench.experiments.suite import Suite, SuitePrompt, prompt_from
from paragone_workbench.machine import describe_machine
from paragone_workbench.store import Experiment, History, RunKey, Store
from paragone_workbench.store.saving import retrying

PAGE = 1_000
"""Largest number of runs whose prompts are in memory at a time."""

_LARGEST_SEED = 2**31 - 1
"""The largest seed, since some servers store seeds as signed integers of 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
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


SCHEDULE: Mode = "swap"
"""The default schedule of a suite: each engine is loaded once, and has the machine to itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRequest:
    suite: Suite
    engines: Sequence[EngineDefinition]
    """The definitions of the engines, with the options of the command line."""
    judges: Mapping[str, EngineDefinition] = field(default_factory=dict)
    """The definitions of the engines that assertions ask, by name."""
    foreign_judges: frozenset[str] = frozenset()
    """The names of the judges that only the suite names, which do not get the user's own system prompt."""
    repetitions: int = 1
    schedule: Mode = SCHEDULE
    chosen: frozenset[int] | None = None
    """Indices of the prompts to run now; None for all."""
    retry_failed: bool = False
    """Whether failed runs are repeated, and judges that gave no verdict are asked again."""
    fresh: bool = False
    """Whether to begin a new experiment even if there is one with the same prompts, engines and settings."""


async def find_or_create(
    history: History, request: SuiteRequest, registry: Registry
) -> tuple[Experiment, bool]:
    """Return the experiment of a request, claimed for this instance, and whether an earlier command began the experiment.

    Raises StoreError, and InputError if another instance of the program runs the experiment.
    """
    digest = _fingerprint(
        request.suite.prompts,
        [engine_identity(engine, registry.find(engine.backend)) for engine in request.engines],
        request.repetitions,
        [engine_identity(judge, registry.find(judge.backend)) for judge in request.judges.values()],
    )
    if not request.fresh:
        found = await retrying(history, lambda store: store.experiments.find(digest))
        if found is not None:
            number = found.number
            await retrying(history, lambda store: store.experiments.claim(number))
            return found, True
    new = Experiment(
        name=request.suite.name,
        fingerprint=digest,
        schedule=request.schedule,
        repetitions=request.repetitions,
        engines=tuple(map(registry.public, request.engines)),
        machine=await describe_machine(),
        prompts=len(request.suite.prompts),
        created=time.time(),
    )

    def create(store: Store) -> Experiment:
        prompts = ((prompt.index, to_json(prompt)) for prompt in request.suite.prompts)
        number = store.experiments.create(new, prompts, fresh=request.fresh)
        created = store.experiments.get(number)
        if created.id != new.id:  # another instance created the experiment
            store.experiments.claim(number)
        return created

    experiment = await retrying(history, create)
    return experiment, experiment.id != new.id


def _fingerprint(
    prompts: Iterable[SuitePrompt], engines: Sequence[Json], repetitions: int, judges: Iterable[Json]
) -> str:
    """Return the SHA-256 of everything that the answers of an experiment depend on, in hexadecimal.

    Prompts include the system prompt and the assertions. `engines` and `judges` are the identities of the engines and the
    judges. The line numbers of the prompts are ignored, so that an added comment begins no new experiment.
    """
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(_line(to_json(dataclasses.replace(prompt, line=0))))
    digest.update(_line(engines))
    digest.update(_line(repetitions))
    for judge in judges:
        digest.update(_line(judge))
    return digest.hexdigest()


def _line(data: Json) -> bytes:
    return json.dumps(data, sort_keys=True).encode() + b"\n"
