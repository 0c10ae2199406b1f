"""Whether the runs of two engines alternated in time, so that their times can be compared.

A machine becomes slower and faster in the course of minutes: it gets warm, and other programs use it. If one engine
answered all prompts before the other began, such a change looks like a difference between the engines, and no test of
the values can tell: with the same file under two names, a difference in speed was "shown" in 9 of 28 experiments. If
the engines take turns, a change affects both.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

__all__ = ["alternate"]

_LONGEST = 3.0
"""Longest mean stretch of runs of one engine. If each prompt begins with another of two engines, it is 2."""


def alternate(one: Mapping[tuple[int, int], float], other: Mapping[tuple[int, int], float]) -> bool:
    """Return whether two engines took turns, from the times at which their runs began, by prompt and repetition.

    Only runs of a prompt and repetition that both answered count.
    """
    common = one.keys() & other.keys()
    order = sorted([(one[key], 0) for key in common] + [(other[key], 1) for key in common])
    changes = sum(before[1] != after[1] for before, after in itertools.pairwise(order))
    return bool(order) and len(order) / (changes + 1) <= _LONGEST
