"""Suites: prompts with assertions, and the experiment of a suite with its prompts and its unfinished runs."""

import dataclasses
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

from paragone import Backend, Json, Message, ParagoneError
from paragone.options import describe
from paragone.wire import from_json, to_json
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.identity import engine_identity
from paragone_workbench.machine import describe_machine
from paragone_workbench.store import Experiment, History, RunKey, Store

PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionSpec:
    """An assertion of a prompt. Missing options have the default; a negated assertion passes if the check fails."""

    type: str
    options: Mapping[str, Json] = field(default_factory=dict)
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePrompt:
    """One prompt of a suite, with its system message, its variables filled in, and the assertions of the file last. `index`
    is the index in the file, from 0. Faulty prompts count too, so that correcting them does not renumber the others."""

    index: int
    line: int
    messages: tuple[Message, ...]
    expected: str | None = None
    choices: tuple[str, ...] = ()
    """Texts whose log-probabilities the engine computes instead of generating an answer."""
    tags: tuple[str, ...] = ()
    variables: Mapping[str, Json] = field(default_factory=dict)
    assertions: tuple[AssertionSpec, ...] = ()
    answer: str | None = None
    """The recorded answer to the last message. No assertion checks it."""
    conversation: str = ""
    """The conversation that the prompt is a turn of; empty for a prompt on its own."""

    @property
    def text(self) -> str:
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")


Problem: TypeAlias = tuple[int, str]
"""The line of a problem in a suite file, from 1 on, and a message about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The content of a suite file, and the problems of the prompts that were skipped. `given_system` is the user's
    own system prompt, for prompts without one if the file has none either."""

    name: str
    prompts: tuple[SuitePrompt, ...] = ()
    problems: tuple[Problem, ...] = ()
    given_system: str = ""

    @property
    def checked(self) -> int:
        return sum(bool(prompt.assertions) for prompt in self.prompts)


def filter_prompts(suite: Suite, expression: str) -> Suite:
    """Return the suite with the prompts that have the tag NAME, for the expression `tag:NAME`, else with those whose
    messages contain the expression. Case does not matter. The indices of prompts stay the same."""
    key, _, tag = expression.partition(":")
    wanted = expression.casefold()
    chosen = tuple(
        prompt
        for prompt in suite.prompts
        if (
            tag in prompt.tags
            if key == "tag"
            else any(wanted in it.text.casefold() for it in prompt.messages)
        )
    )
    return dataclasses.replace(suite, prompts=chosen)


def problem_text(name: str, problems: Sequence[Problem]) -> str:
    """Return a line `NAME:LINE: MESSAGE` for each of the first problems, and the number of further problems."""
    lines = [f"{name}:{line}: {message}" for line, message in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        lines.append(f"and {len(problems) - PROBLEMS_SHOWN:,} more")
    return "\n".join(lines)


PAGE = 1_000
"""Number of prompts, or of runs with their prompts, in memory at a time."""


def saved_prompt(store: Store, experiment_id: int, index: int) -> SuitePrompt:
    """Return a prompt of an experiment. Raises StoreError, and ParagoneError if the prompt cannot be read."""
    ((_, content),) = store.experiments.prompts(experiment_id, index, 1)
    return prompt_from(index, content)


def saved_prompts(store: Store, experiment_id: int) -> Iterator[SuitePrompt]:
    """Yield the prompts of an experiment in order. Raises StoreError, and ParagoneError if a prompt cannot be read."""
    first = 0
    while page := store.experiments.prompts(experiment_id, first, PAGE):
        for index, content in page:
            yield prompt_from(index, content)
        first = page[-1][0] + 1


def prompt_from(index: int, content: Json) -> SuitePrompt:
    """Return a prompt from saved content. Raises ParagoneError if another version of paragone saved it in another form."""
    try:
        return from_json(SuitePrompt, content)
    except (TypeError, ValueError) as error:
        raise ParagoneError(
            f"The prompt #{index} of the experiment was saved in a form that this version cannot read.",
            hint="Use the version of paragone that ran the experiment.",
        ) from error


SCHEDULE: Mode = "swap"
"""The default schedule of a suite: each engine is loaded once, and is alone on the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRequest:
    suite: Suite
    engines: Sequence[EngineDefinition]
    judges: Mapping[str, EngineDefinition] = field(default_factory=dict)
    foreign_judges: frozenset[str] = frozenset()
    """The names of the judges that only the suite names. They do not get the user's own system prompt."""
    repetitions: int = 1
    schedule: Mode = SCHEDULE
    chosen: frozenset[int] | None = None
    retry_failed: bool = False
    """Whether failed runs are repeated, and judges that gave no verdict are asked again."""
    fresh: bool = False
    """Whether to begin a new experiment even if there is one with the same prompts, engines and settings."""


_LARGEST_SEED = 2**31 - 1
"""The largest seed: some servers store seeds as signed integers of 32 bits."""


Cell: TypeAlias = tuple[RunKey, SuitePrompt]


async def unfinished_cells(
    history: History, experiment: Experiment, request: SuiteRequest, engines: Sequence[int]
) -> AsyncGenerator[Cell, None]:
    """Yield the unfinished runs of a request on some engines. The engines take turns in beginning a prompt. Raises
    StoreError."""
    finished = ("done",) if request.retry_failed else ("done", "failed")
    size = max(1, PAGE // (len(experiment.engines) * experiment.repetitions))
    experiment_id, runs = experiment.number, len(engines) * experiment.repetitions
    first = number = 0

    def read(store: Store) -> tuple[Sequence[tuple[int, Json | None]], Mapping[RunKey, str]]:
        rows = store.experiments.unfinished_prompts(experiment_id, first, size, engines, finished, runs)
        is_left = any(content is not None for _, content in rows)
        return rows, store.experiments.states(experiment_id, first, rows[-1][0]) if is_left else {}

    while (page := await history.call(read))[0]:
        rows, states = page
        for prompt in (prompt_from(index, content) for index, content in rows if content is not None):
            if request.chosen is not None and prompt.index not in request.chosen:
                continue
            for repetition in range(experiment.repetitions):
                turn = (number + repetition) % len(engines)
                for engine in (*engines[turn:], *engines[:turn]):
                    key = RunKey(prompt_index=prompt.index, engine_index=engine, repetition=repetition)
                    if states.get(key) not in finished:
                        yield key, prompt
            number += 1
        first = rows[-1][0] + 1


def seed_option(cell: Cell, engine: EngineDefinition, backend: Backend | None) -> Mapping[str, Json]:
    """Return the sampling option with the seed of a run, from 0 to 2³¹ − 1. The seed depends only on the messages and
    the repetition, so a prompt keeps its seeds when other prompts are added. Empty if the user has set the engine's
    seed, or if the engine's backend does not declare the standard option `seed`."""
    if backend is None or "seed" in engine.options:
        return {}
    declared = any(
        info.name == "seed" and (info.maximum is None or info.maximum >= _LARGEST_SEED)
        for info in describe(backend.sampling)
    )
    if not declared:
        return {}
    key, prompt = cell
    content = [key.repetition, *map(to_json, prompt.messages)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    return {"seed": int.from_bytes(digest[:4], "big") & _LARGEST_SEED}


async def find_or_create(
    history: History, request: SuiteRequest, registry: Registry
) -> tuple[Experiment, bool]:
    """Return the experiment of a request, claimed for this program, and whether an earlier command began it. Raises
    StoreError and InputError."""
    # everything that answers depend on, but not line numbers: an added comment must not begin a new experiment
    prompts = (to_json(dataclasses.replace(prompt, line=0)) for prompt in request.suite.prompts)
    engines, judges = (
        [engine_identity(engine, registry.find(engine.backend)) for engine in named]
        for named in (request.engines, request.judges.values())
    )
    hashed = hashlib.sha256()
    for part in chain[Json](prompts, (engines, request.repetitions), judges):
        hashed.update(json.dumps(part, sort_keys=True).encode() + b"\n")
    digest = hashed.hexdigest()
    if not request.fresh:
        found = await history.call(lambda store: store.experiments.find(digest))
        if found is not None:
            number = found.number
            await history.call(lambda store: store.experiments.claim(number))
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
        saved = ((prompt.index, to_json(prompt)) for prompt in request.suite.prompts)
        number = store.experiments.create(new, saved, fresh=request.fresh)
        created = store.experiments.get(number)
        if created.id != new.id:  # another instance created the experiment
            store.experiments.claim(number)
        return created

    experiment = await history.call(create)
    return experiment, experiment.id != new.id
