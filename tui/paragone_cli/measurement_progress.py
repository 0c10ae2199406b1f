"""The progress of benches, fidelity measurements and suites on standard error."""

import functools
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from paragone.texts import counted
from paragone_cli.command_line.formats import bar, duration, time_left
from paragone_cli.command_line.output import note, table_lines
from paragone_cli.command_line.progress import StatusLine
from paragone_workbench.blocks import brief_names
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite_engine import EngineProgress
from paragone_workbench.measure.bench import BenchStep, BenchTest
from paragone_workbench.measure.fidelity import MeasurementStep


class BenchProgress(StatusLine):
    def __init__(self, engines: Sequence[str], tests: Sequence[BenchTest]) -> None:
        super().__init__()
        self._engines = engines
        self._tests = tests
        self._total = 0
        self._current: tuple[BenchStep, float] | None = None
        self._took: defaultdict[tuple[int, BenchTest | None], list[float]] = defaultdict(list)
        self.show("loading")

    def begin(self, left: Sequence[BenchStep]) -> None:
        """Show the first of these remaining steps."""
        now, step = time.monotonic(), left[0]
        if self._current is not None:
            last, began = self._current
            self._took[last.engine, last.test].append(now - began)
        self._current = step, now
        self._total = max(self._total, len(left))
        text = f"{bar(self._total - len(left), self._total)} "
        if self._took:
            text += f"{duration(sum(map(self._estimate, left)))} left · "
        test = step.test
        if test is None:
            text += "warm-up"
        elif test.users:
            text += f"prompt {test.prompt_tokens:,}, {counted(test.users, 'user')}"
        else:
            text += f"prompt {test.prompt_tokens:,}, depth {test.depth:,}, run {step.repetition + 1}"
        self.show(f"{text} · {self._engines[step.engine]}")

    def _estimate(self, step: BenchStep) -> float:
        """Return the expected seconds of a step: the mean of the finished steps with the same engine and test.

        If no such step is finished, the mean time per token of all finished steps is used.
        """
        if known := self._took.get((step.engine, step.test)):
            return sum(known) / len(known)
        seconds = sum(map(sum, self._took.values()))
        tokens = sum(self._tokens(test) * len(took) for (_, test), took in self._took.items())
        return seconds / tokens * self._tokens(step.test)

    def _tokens(self, test: BenchTest | None) -> int:
        return (test or self._tests[0]).total


class FidelityProgress(StatusLine):
    def __init__(self) -> None:
        super().__init__()
        self._began: float | None = None
        self.show("loading")

    def begin(self, step: MeasurementStep) -> None:
        what = (
            f"{'greedy answers, ' if step.what == 'prompt' else ''}{step.what} {step.number} of {step.last}"
        )
        began = self._began if self._began is not None and step.done else time.monotonic()
        self._began = began
        text = f"{bar(step.done, step.total)} {what}"
        if step.done:
            text += f" · {time_left(began, step.done, step.total)} left"
        self.show(text)


_HEADER = ("engine", "done", "errors", "passed", "tokens/s", "")


class SuiteTable(StatusLine):
    """A table of the engines of a suite, which is updated in place."""

    def __init__(self, runner: SuiteRunner) -> None:
        super().__init__()
        runner.notify = self._notified
        self._runner = runner
        self._doing = ""
        self.count_from(None)

    def _notified(self, remark: str) -> None:
        """Print a remark; or update the table, at a limited rate, or print a line."""
        if remark:
            self.clear()
            note(remark)
            return
        if self._step_done is None:
            self.count_from(self._percent)
        if self._doing != self._runner.doing:
            self._doing = self._runner.doing
            if self.on:
                self._update()
            else:
                note(f"{self._doing}.")
        elif self.is_due:
            self._update()
        elif self.passes_step(self._percent):
            failed = sum(engine.failed for engine in self._runner.progress)
            parts = [
                f"{self._percent}%: {self._done:,} of {self._total:,} runs",
                counted(failed, "error"),
                self._rest,
            ]
            note(", ".join(filter(None, parts)))

    def _update(self) -> None:
        self.show(*table_lines([_HEADER, *map(self._row, self._runner.progress)]), self._rest)

    @functools.cached_property
    def _names(self) -> Mapping[str, str]:
        return brief_names(engine.name for engine in self._runner.progress)

    @property
    def _done(self) -> int:
        return sum(engine.done for engine in self._runner.progress)

    @property
    def _total(self) -> int:
        return sum(engine.total for engine in self._runner.progress)

    @property
    def _percent(self) -> int:
        return 100 * self._done // self._total if self._total else 0

    @property
    def _rest(self) -> str:
        """The time left, or the activity if no runs are executed."""
        if self._doing:
            return self._doing
        now, engines = time.monotonic(), self._runner.progress
        begun = [(it, now - it.began) for it in engines if it.began is not None and it.now]
        if not begun:
            return ""
        if self._runner.at_once:
            left = max(elapsed / engine.now * engine.left for engine, elapsed in begun)
        else:
            a_run = max(elapsed for _, elapsed in begun) / sum(engine.now for engine, _ in begun)
            left = a_run * sum(engine.left for engine in engines)
        return f"{duration(left)} left"

    def _row(self, progress: EngineProgress) -> tuple[str, ...]:
        engine = progress.engine
        rate = None if engine is None else engine.tokens_per_second
        return (
            self._names[progress.name],
            f"{progress.done:,}/{progress.total:,}",
            f"{progress.failed:,}",
            _passed(progress),
            "–" if rate is None else f"{rate:.0f}",
            _state(progress),
        )


def _passed(progress: EngineProgress) -> str:
    passed, failed, unknown = (progress.verdicts[verdict] for verdict in (True, False, None))
    shown = [f"{passed:,}/{passed + failed:,}"] if passed or failed else []
    shown += [f"{unknown:,} undecided"] if unknown else []
    return ", ".join(shown) or "–"


def _state(progress: EngineProgress) -> str:
    if progress.given_up is not None:
        return "given up"
    return progress.engine.doing if progress.engine is not None else ""
