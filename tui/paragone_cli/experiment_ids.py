"""The ids of experiments on the command line: `e3`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from paragone import InputError, ParagoneError
from paragone_workbench.experiments.ids import parse_id
from paragone_workbench.store.store import Store

__all__ = ["experiment_id", "newest_experiments", "one_experiment"]


def experiment_id(text: str) -> int:
    """Return the number in the id of an experiment, such as `e3`. Raises InputError."""
    found = parse_id(text)
    if found is None or found.kind != "e" or found.run is not None:
        raise InputError(
            f"{text!r} is not the id of an experiment.",
            hint=f"It is an e and a number, such as e3. {newest_experiments()}",
        )
    return found.number


def one_experiment(words: Sequence[str], command: str) -> int:
    """Return the number of the only experiment that was named. Raises InputError."""
    if len(words) != 1:
        raise InputError(
            "Name one experiment.", hint=f"Write for example: {command} e3. {newest_experiments()}"
        )
    return experiment_id(words[0])


def newest_experiments() -> str:
    """Return a hint with the ids of the newest experiments."""
    try:
        with contextlib.closing(Store.open()) as store:
            return store.experiments.newest()
    except ParagoneError:
        return "`paragone suite list` lists them."
