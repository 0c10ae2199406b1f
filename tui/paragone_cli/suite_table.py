"""The progress of a suite on standard error: a table that is updated in place, or a line now and then."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from types import TracebackType

from paragone_cli.engine_names import short_names
from paragone_cli.formats import duration
from paragone_cli.output import note, table_lines
from paragone_cli.status_line import StatusLine
from paragone_workbench.experiments.running.progress import EngineProgress, SuiteObserver, seconds_left
from paragone_workbench.scheduling.scheduler import Scheduler

__all__ = ["STEP", "SuiteTable"]

_HEADER = ("engine", "done", "failed", "passed", "tokens/s", "")
STEP = 10
"""Percent of the runs after which a line is printed if standard error is not a terminal."""


class SuiteTable(SuiteObserver):
    """A context manager; the table is removed at the end of the block."""

    def __init__(self) -> None:
        self.engines: Sequence[EngineProgress] = ()
        self._lines = StatusLine()
        self._at_once = False
        self._told: int | None = None
        """The percentage that was printed last."""
        self._doing = ""

    def __enter__(self) -> SuiteTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.end()

    def scheduled(self, scheduler: Scheduler) -> None:
        """Print the reason for the schedule, if it was decided."""
        self._at_once = scheduler.order == "parallel"
        self._told = self._percent // STEP * STEP
        if scheduler.decision is not None:
            self._lines.clear()
            note(f"Schedule {scheduler.order}. {scheduler.decision.reason}")

    def judging(self, names: Sequence[str]) -> None:
        """Say that answers are judged."""
        self._now(f"{' and '.join(names)} judge" + ("s the answers" if len(names) == 1 else " the answers"))

    def digesting(self, path: str) -> None:
        """Say that the digest of a file is computed."""
        self._now(f"computing the SHA-256 of {PurePath(path).name}")

    def _now(self, doing: str) -> None:
        self._doing = doing
        if self._lines.on:
            self._show()
        else:
            note(f"{doing}.")

    def progressed(self) -> None:
        """Update the table, at a limited rate, or print a line."""
        if self._lines.on:
            if self._lines.due:
                self._show()
        elif self._told is not None and self._percent >= self._told + STEP:
            self._told = self._percent // STEP * STEP
            failed = sum(it.failed for it in self.engines)
            parts = [
                f"{self._percent}%: {self._done:,} of {self._total:,} runs",
                f"{failed:,} failed",
                self._rest,
            ]
            note(", ".join(filter(None, parts)))

    def _show(self) -> None:
        self._lines.show(*table_lines([_HEADER, *map(self._row, self.engines)]), self._rest)

    @functools.cached_property
    def _names(self) -> Mapping[str, str]:
        return short_names(it.name for it in self.engines)

    @property
    def _done(self) -> int:
        return sum(it.done for it in self.engines)

    @property
    def _total(self) -> int:
        return sum(it.total for it in self.engines)

    @property
    def _percent(self) -> int:
        return 100 * self._done // self._total if self._total else 0

    @property
    def _rest(self) -> str:
        """What is still to come."""
        if self._doing:
            return self._doing
        left = seconds_left(self.engines, at_once=self._at_once)
        return "" if left is None else f"{duration(left)} left"

    def _row(self, it: EngineProgress) -> tuple[str, ...]:
        rate = it.tokens_per_second(time.monotonic())
        return (
            self._names[it.name],
            f"{it.done:,}/{it.total:,}",
            f"{it.failed:,}",
            _passed(it),
            "–" if rate is None else f"{rate:.0f}",
            _state(it),
        )


def _passed(it: EngineProgress) -> str:
    verdicts = it.passed + it.not_passed
    undecided = f"{it.undecided:,} undecided" if it.undecided else ""
    return ", ".join(filter(None, (f"{it.passed:,}/{verdicts:,}" if verdicts else "", undecided))) or "–"


def _state(it: EngineProgress) -> str:
    if it.given_up is not None:
        return "given up"
    if it.engine is not None and it.engine.handle.state == "opening":
        fraction = it.engine.handle.load_fraction
        return "loading" if fraction is None else f"loading {fraction:.0%}"
    return ""
