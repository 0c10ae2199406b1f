"""The ids of experiments on the command line: `e3`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from paragone import InputError

__all__ = ["experiment_id", "one_experiment"]


def experiment_id(text: str) -> int:
    """Return the number in the id of an experiment, such as `e3`. Raises InputError."""
    match = re.fullmatch(r"[eE](\d{1,18})", text)
    if match is None:
        raise InputError(
            f"{text!r} is not the id of an experiment.",
            hint="It is an e and a number, such as e3. `paragone suite list` lists them.",
        )
    return int(match[1])


def one_experiment(words: Sequence[str], command: str) -> int:
    """Return the number of the only experiment that was named. Raises InputError."""
    if len(words) != 1:
        raise InputError(
            "Name one experiment.", hint=f"Write: {command} e3. `paragone suite list` lists them."
        )
    return experiment_id(words[0])
