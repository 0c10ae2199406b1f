"""The request of `paragone suite run`, and the experiment in the history that the request belongs to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from paragone import Json
from paragone.wire import to_json
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.engine_identity import engine_identity
from paragone_workbench.experiments.suites.suite import Suite, SuitePrompt
from paragone_workbench.machine.description import describe_machine
from paragone_workbench.store import Experiment, History, Store
from paragone_workbench.store.retry import retrying

SCHEDULE: Mode = "swap"
"""The default schedule of a suite: each engine is loaded once, and has the machine to itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRequest:
    """A suite to be run on engines."""

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
