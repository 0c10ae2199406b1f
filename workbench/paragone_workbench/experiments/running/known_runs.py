"""Takes runs over from earlier experiments, so that no engine executes the same run twice.

Two runs are the same if they have the same engine (its definition, and the size and time of change of its model's file),
messages and seed. The results of assertions are taken over with the run if the assertions and their judges are the same
too; otherwise the answer is checked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from paragone import Json
from paragone.wire import to_json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.engine_identity import engine_identity, identity_digest
from paragone_workbench.experiments.running.cells import Cell, seed_option, unfinished_cells
from paragone_workbench.experiments.running.saved_runs import answer_of
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, evaluate
from paragone_workbench.store import Experiment, History, RunKey
from paragone_workbench.store.experiment_records import Digests, KnownRun
from paragone_workbench.store.retry import retrying

if TYPE_CHECKING:
    from paragone_workbench.experiments.running.request import SuiteRequest

_AT_ONCE = 200
"""Number of runs that one query looks up."""


class CellDigests:
    """The digests of a request's runs, by which other experiments find these runs."""

    def __init__(self, request: SuiteRequest, registry: Registry) -> None:
        """Read the sizes and times of change of the models' files."""
        self._engines = [
            (engine, registry.find(engine.backend), identity_digest(_identity(engine, registry)))
            for engine in request.engines
        ]
        self._judges: list[Json] = [_identity(judge, registry) for judge in request.judges.values()]

    def of(self, cell: Cell) -> Digests:
        """Return the digests of a run."""
        engine, backend, identity = self._engines[cell.key.engine_index]
        prompt = cell.prompt
        seed = seed_option(cell, engine, backend)
        messages: list[Json] = [to_json(message) for message in prompt.messages]
        assertions: list[Json] = [to_json(spec) for spec in prompt.assertions]
        return Digests(
            asked=identity_digest([identity, messages, dict(seed)]),
            checked=identity_digest([assertions, prompt.expected, self._judges]),
        )


def _identity(engine: EngineDefinition, registry: Registry) -> Json:
    return engine_identity(engine, registry.find(engine.backend))


async def take_known_runs(
    history: History,
    experiment: Experiment,
    request: SuiteRequest,
    digests: CellDigests,
    catalog: AssertionCatalog,
) -> int:
    """Take over, for the unfinished runs of an experiment, the same runs of other experiments. Returns their number.

    An experiment that was begun with `fresh`, or that has runs already, takes over only runs that are newer than that
    experiment.
    Raises StoreError.
    """
    begun = request.fresh or experiment.done or experiment.failed
    since = experiment.created if begun else 0.0
    taken = 0
    cells: dict[RunKey, Cell] = {}

    async def take() -> int:
        wanted = {key: digests.of(cell) for key, cell in cells.items()}
        number = experiment.number
        found = await retrying(history, lambda store: store.experiments.known(number, wanted, since))
        checked = [await _checked(run, cells, catalog) for run in found]
        if checked:
            await retrying(history, lambda store: store.experiments.use_known(number, checked))
        cells.clear()
        return len(checked)

    every = range(len(request.engines))
    async for cell in unfinished_cells(
        history, experiment, every, chosen=request.chosen, retry_failed=request.retry_failed
    ):
        cells[cell.key] = cell
        if len(cells) == _AT_ONCE:
            taken += await take()
    return taken + await take()


async def _checked(run: KnownRun, cells: Mapping[RunKey, Cell], catalog: AssertionCatalog) -> KnownRun:
    """Return a known run with the results of this experiment's assertions, except assertions that ask engines."""
    if run.result is None:
        return run
    results = await evaluate(cells[run.key].prompt, answer_of(run.result), catalog)
    return run._replace(result=None, assertions=tuple(to_json(result) for result in results))
