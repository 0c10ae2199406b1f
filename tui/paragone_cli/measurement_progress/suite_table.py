"""The progress of a suite on standard error: a table that is updated in place, or a line after each ten percent."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from paragone_cli.command_line.formats import duration, short_names
from paragone_cli.command_line.output import note, table_lines
from paragone_cli.command_line.status_line import StatusLine
from paragone_workbench.experiments.running.progress import EngineProgress, SuiteObserver, seconds_left
from paragone_workbench.scheduling.scheduler import Scheduler

_HEADER = ("engine", "done", "failed", "passed", "tokens/s", "")


class SuiteTable(StatusLine, SuiteObserver):
    """A table of the engines, which is updated in place."""

    def __init__(self) -> None:
        super().__init__()
        self.engines: Sequence[EngineProgress] = ()
        self._at_once = False
        self._doing = ""
        self.count_from(None)

    def scheduled(self, scheduler: Scheduler) -> None:
        """Print the reason for the schedule, if the mode `auto` chose the schedule."""
        self._at_once = scheduler.order == "parallel"
        self.count_from(self._percent)
        if scheduler.decision is not None:
            self.clear()
            note(f"Schedule {scheduler.order}. {scheduler.decision.reason}")

    def counted(self, taken: int, total: int) -> None:
        """Print how many answers are taken over from earlier experiments."""
        if taken:
            self.clear()
            note(known_text(taken, total))

    def judging(self, names: Sequence[str]) -> None:
        """Show which judges are asked about the answers."""
        self._now(f"{' and '.join(names)} judge" + ("s the answers" if len(names) == 1 else " the answers"))

    def remarked(self, sentence: str) -> None:
        """Print a sentence of the runner."""
        self.clear()
        note(sentence)

    def digesting(self, path: str) -> None:
        """Show that the digest of a file is computed."""
        self._now(f"computing the SHA-256 of {PurePath(path).name}")

    def _now(self, doing: str) -> None:
        self._doing = doing
        if self.on:
            self._update()
        else:
            note(f"{doing}.")

    def progressed(self) -> None:
        """Update the table, at a limited rate, or print a line."""
        if self.due:
            self._update()
        elif self.passes_step(self._percent):
            failed = sum(engine.failed for engine in self.engines)
            parts = [
                f"{self._percent}%: {self._done:,} of {self._total:,} runs",
                f"{failed:,} failed",
                self._rest,
            ]
            note(", ".join(filter(None, parts)))

    def _update(self) -> None:
        self.show(*table_lines([_HEADER, *map(self._row, self.engines)]), self._rest)

    @functools.cached_property
    def _names(self) -> Mapping[str, str]:
        return short_names(engine.name for engine in self.engines)

    @property
    def _done(self) -> int:
        return sum(engine.done for engine in self.engines)

    @property
    def _total(self) -> int:
        return sum(engine.total for engine in self.engines)

    @property
    def _percent(self) -> int:
        return 100 * self._done // self._total if self._total else 0

    @property
    def _rest(self) -> str:
        """The time left, or the activity if no runs are executed."""
        if self._doing:
            return self._doing
        left = seconds_left(self.engines, at_once=self._at_once)
        return "" if left is None else f"{duration(left)} left"

    def _row(self, progress: EngineProgress) -> tuple[str, ...]:
        rate = progress.tokens_per_second(time.monotonic())
        return (
            self._names[progress.name],
            f"{progress.done:,}/{progress.total:,}",
            f"{progress.failed:,}",
            _passed(progress),
            "–" if rate is None else f"{rate:.0f}",
            _state(progress),
        )


def known_text(taken: int, total: int) -> str:
    """Return the sentence that says how many answers were taken over from earlier experiments."""
    return f"{taken:,} of {total:,} answers known: earlier experiments asked the same. With --fresh, the engines answer again."


def _passed(progress: EngineProgress) -> str:
    verdicts = progress.passed + progress.not_passed
    undecided = f"{progress.undecided:,} undecided" if progress.undecided else ""
    return (
        ", ".join(filter(None, (f"{progress.passed:,}/{verdicts:,}" if verdicts else "", undecided))) or "–"
    )


def _state(progress: EngineProgress) -> str:
    if progress.given_up is not None:
        return "given up"
    return progress.engine.doing if progress.engine is not None else ""
