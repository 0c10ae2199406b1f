"""Which prompts of an experiment a report shows: prompts with failures first, then prompts whose answers differ most."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from paragone_workbench.experiments.differences.suite_values import SuiteRow

PROMPTS_SHOWN = 100
"""Largest number of prompts that a report shows."""

PROMPTS_OPEN = 1
"""Number of prompts whose answers are unfolded. The answers to the other prompts are folded."""

_WORDS = 2_000
"""Number of words of an answer that are compared to order the prompts."""


class _Interest(NamedTuple):
    """The rank of a prompt. Ranks are compared by the first field, and by each next field if the fields before are equal."""

    failures: float
    """Share of the runs that failed, or whose assertions do not hold."""
    difference: float
    """How much the answers of different engines differ, from 0 to 1."""
    minus_number: int
    """Minus the prompt's number, so that earlier prompts come first among equals."""


class Selection:
    """Chooses prompts by their runs. Keeps no more than `PROMPTS_SHOWN` prompts."""

    def __init__(self) -> None:
        self.count = 0
        """Number of prompts that have runs."""
        self._best: list[_Interest] = []

    def add(self, number: int, rows: Sequence[SuiteRow]) -> None:
        """Add a prompt with all its runs. Earlier prompts have smaller numbers."""
        self.count += 1
        failures = sum(row.failed or row.passed is False for row in rows) / len(rows)
        interest = _Interest(failures, _difference(rows), -number)
        if len(self._best) < PROMPTS_SHOWN:
            heapq.heappush(self._best, interest)
        else:
            heapq.heappushpop(self._best, interest)

    @property
    def left_out(self) -> int:
        """Number of prompts that are not shown."""
        return self.count - len(self._best)

    @property
    def sound(self) -> int:
        """Number of chosen prompts at which no run and no assertion failed. These prompts are the last of the selection."""
        return sum(not interest.failures for interest in self._best)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the chosen prompts, the worst first."""
        return [-interest.minus_number for interest in sorted(self._best, reverse=True)]


def _difference(rows: Sequence[SuiteRow]) -> float:
    """Return the greatest difference between the first answers of two engines.

    The difference is the share of the words of the longer answer that the shorter answer lacks, whatever their order: a
    longest common subsequence would take too long for many thousands of prompts.
    """
    firsts = {row.engine: row.text for row in reversed(rows)}
    bags = [Counter(text.split(maxsplit=_WORDS)[:_WORDS]) for text in firsts.values()]
    return max((_distance(one, other) for one, other in combinations(bags, 2)), default=0.0)


def _distance(one: Counter[str], other: Counter[str]) -> float:
    longer = max(one.total(), other.total())
    return 1 - (one & other).total() / longer if longer else 0.0
