"""Executes one run of a suite, and checks the answer."""

from __future__ import annotations

from paragone_workbench.experiments.running.cells import Cell, seed_option
from paragone_workbench.experiments.running.executing.executor import ExecutedCell
from paragone_workbench.experiments.running.executing.suite_engine import SuiteEngine
from paragone_workbench.experiments.running.saved_runs import answer_of
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, evaluate
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.store.experiment_records import AssertionResult


async def execute_cell(cell: Cell, engine: SuiteEngine, catalog: AssertionCatalog) -> ExecutedCell | None:
    """Return the executed run with the results of the assertions; None if the run did not end by itself."""
    sampling = seed_option(cell, engine.definition, engine.handle.backend)
    executed = await engine.execute(RunSpec(messages=cell.prompt.messages, sampling=sampling, cold=True))
    if executed is None:
        return None
    results: tuple[AssertionResult, ...] = ()
    if not executed.result.error:
        results = await evaluate(cell.prompt, answer_of(executed.result, total_s=executed.total_s), catalog)
    return ExecutedCell(cell, executed.result, results)
