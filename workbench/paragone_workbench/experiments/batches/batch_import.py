"""Imports the results of a batch as runs of the experiment, and checks the assertions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from paragone import InputError
from paragone.regular_file import reading
from paragone.wire import to_json
from paragone.wording import quoted, size_text
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.batches.custom_ids import CustomId, parse_custom_id
from paragone_workbench.experiments.batches.requests import BatchEngine, batch_engine
from paragone_workbench.experiments.batches.results import BatchLineError, read_result, run_result
from paragone_workbench.experiments.running.cells import Cell
from paragone_workbench.experiments.running.saved_runs import answer_of
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, evaluate
from paragone_workbench.experiments.suites.saved_prompts import prompt_from
from paragone_workbench.experiments.suites.suite import SuiteProblem, SuitePrompt
from paragone_workbench.store import Experiment, ExperimentRun, History, Store
from paragone_workbench.store.experiment_records import AssertionResult
from paragone_workbench.store.retry import retrying

LONGEST_LINE = 2**26
"""Largest number of bytes of a line. One line is in memory at a time, so the file may have any size."""


@dataclass(eq=False)
class BatchImport:
    """Imports files of results into one experiment, line by line. Each result is saved at once.

    An answer never replaces another answer, but it does replace the error of an earlier attempt. A line with a mistake
    is left out; the other lines are imported.
    """

    history: History
    experiment: Experiment
    registry: Registry
    catalog: AssertionCatalog
    lines: int = 0
    """Number of lines that were read."""
    answers: int = 0
    """Number of answers that were imported."""
    errors: int = 0
    """Number of failed requests that were imported."""
    known: int = 0
    """Number of skipped results: results that were imported before, and errors of requests that have an answer now."""
    to_judge: int = 0
    """Number of imported answers that judges have yet to check. `SuiteRunner` asks these judges."""
    refused: int = 0
    """Number of lines that were not imported."""
    _engines: dict[int, BatchEngine] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)
    """The numbers of all experiments, by id; empty until a result of another experiment is read."""

    async def read(self, path: Path) -> AsyncGenerator[SuiteProblem | None, None]:
        """Import the results in a file. Yield after each line why the line is not imported; None if it is imported.

        Raises StoreError, and InputError if the file cannot be read.
        """
        for number, line in enumerate(_lines(path), start=1):
            problem = None
            try:
                await self._take(line)
            except (BatchLineError, InputError) as error:
                self.refused += 1
                problem = SuiteProblem(line=number, sentence=str(error))
            self.lines += 1
            yield problem

    async def _take(self, line: bytes) -> None:
        """Import the result in a line.

        Raises StoreError, BatchLineError for a wrong line, and InputError if the engine's runs cannot be in a batch.
        """
        if len(line) > LONGEST_LINE:
            raise BatchLineError(f"The line is longer than {size_text(LONGEST_LINE)}.")
        if not line.strip():
            return
        result = read_result(line)
        place = await self._place(result.custom_id)
        engine = self._engine(place.key.engine_index)
        prompt, saved = await retrying(self.history, lambda store: _known(store, self.experiment, place))
        if prompt is None:
            raise BatchLineError(f"e{self.experiment.number} has no prompt #{place.key.prompt_index}.")
        cell = Cell(key=place.key, prompt=prompt)
        run = run_result(result, place, engine, cell)
        if saved is not None:
            before = saved.result
            if before.id == run.id or (before.state == "done" and run.state == "failed"):
                self.known += 1  # the same result, or an error from before the answer
                return
            if before.state == "done" or run.state == "failed":
                raise BatchLineError(
                    f"The request has another result already, e{self.experiment.number}/{saved.number}, which is kept."
                )
        checks: tuple[AssertionResult, ...] = ()
        if run.state == "done":
            checks = await evaluate(prompt, answer_of(run), self.catalog)
        number, found = self.experiment.number, [to_json(check) for check in checks]
        await retrying(self.history, lambda store: store.experiments.save(number, place.key, run, found))
        if run.state == "done":
            self.answers += 1
            self.to_judge += len(checks) < len(prompt.assertions)
        else:
            self.errors += 1

    async def _place(self, custom_id: str) -> CustomId:
        """Return the parsed `custom_id` of a result of this experiment. Raises BatchLineError for any other result."""
        place = parse_custom_id(custom_id)
        own = f"e{self.experiment.number}"
        if place is None:
            raise BatchLineError(
                f"The custom_id {quoted(custom_id)} was not written by `paragone suite export`."
            )
        if place.experiment != self.experiment.id:
            if not self._numbers:
                found = await retrying(self.history, lambda store: store.experiments.all())
                self._numbers = {experiment.id: experiment.number for experiment in found}
            if place.experiment not in self._numbers:
                raise BatchLineError("The result belongs to an experiment that the history does not have.")
            raise BatchLineError(
                f"The result belongs to e{self._numbers[place.experiment]}, another experiment."
            )
        if place.key.engine_index >= len(self.experiment.engines):
            raise BatchLineError(f"{own} has no engine with the number {place.key.engine_index}.")
        if place.key.repetition >= self.experiment.repetitions:
            raise BatchLineError(f"{own} has no repetition {place.key.repetition}.")
        return place

    def _engine(self, index: int) -> BatchEngine:
        """Return an engine of the experiment. Raises InputError if no run of the engine can be in a batch."""
        if index not in self._engines:
            self._engines[index] = batch_engine(self.experiment, index, self.registry)
        return self._engines[index]


def _known(
    store: Store, experiment: Experiment, place: CustomId
) -> tuple[SuitePrompt | None, ExperimentRun | None]:
    """Return the prompt and the saved run; None for a prompt or a run that the history lacks. Raises StoreError."""
    index = place.key.prompt_index
    contents = dict(store.experiments.prompts(experiment.number, index, 1))
    prompt = prompt_from(index, contents[index]) if index in contents else None
    return prompt, store.experiments.run_at(experiment.number, place.key)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file. Of a line that is too long, the rest is skipped. Raises InputError."""
    with reading(path, hint="Name the file of results.") as file:
        while line := file.readline(LONGEST_LINE + 1):
            yield line
            while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE + 1)
