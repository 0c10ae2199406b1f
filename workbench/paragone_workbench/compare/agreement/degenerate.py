"""Degenerate answers, which are useless whatever the prompt: loops, and answers without text."""

from __future__ import annotations

from collections.abc import Sequence

from paragone_workbench.runs.result import RunResult

TAIL, PERIOD = 64, 16
"""An answer is a loop if its last 64 tokens are repetitions of a sequence of 16 tokens at most."""

_CHARACTERS = 4
"""Number of characters that are taken for one token where the tokens are unknown."""


def is_loop(answer: RunResult) -> bool:
    """Return whether an answer ends in a loop. If the answer's tokens were not kept, four characters count as a token."""
    if answer.keeps_tokens:
        return _repeats([token.text if token.id is None else token.id for token in answer.tokens], 1)
    return _repeats(answer.thinking + answer.text, _CHARACTERS)


def is_empty(answer: RunResult) -> bool:
    """Return whether an answer has no text that a person could see."""
    return not (answer.thinking + answer.text).strip()


def is_degenerate(answer: RunResult) -> bool:
    """Return whether an answer is a loop or empty."""
    return is_empty(answer) or is_loop(answer)


def _repeats(items: Sequence[object], unit: int) -> bool:
    """Return whether the end of a sequence is periodic. `unit` is the number of items that count as a token."""
    tail = items[-TAIL * unit :]
    if len(tail) < TAIL * unit:
        return False
    return any(tail[period:] == tail[:-period] for period in range(1, PERIOD * unit + 1))
