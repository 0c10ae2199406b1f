"""What a report is about: an experiment or a conversation of the history, by its id."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import InputError
from paragone_workbench.experiments.ids import parse_id
from paragone_workbench.experiments.report.subjects.conversation_rows import conversation_rows
from paragone_workbench.experiments.report.subjects.experiment_prompts import ExperimentPrompts
from paragone_workbench.experiments.report.table import Row
from paragone_workbench.store.experiment_records import Experiment
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.store.store import Store
from paragone_workbench.visible_text import visible

__all__ = ["find_subject", "newest", "rows_of"]

_SUGGESTED = 5
"""Number of conversations that the message about an unknown id lists."""


def find_subject(store: Store, text: str) -> Experiment | SavedConversation:
    """Return the experiment (`e3`) or the conversation (`c7`) with this id.

    Raises InputError, which lists the newest ones, and StoreError.
    """
    found = parse_id(text)
    if found is None or found.kind == "r" or found.run is not None:
        raise InputError(
            f"{visible(text)!r} is not the id of an experiment or a conversation.", hint=newest(store)
        )
    try:
        return store.experiments.get(found.number) if found.kind == "e" else store.load(found.number)
    except InputError:
        kind = "experiment" if found.kind == "e" else "conversation"
        raise InputError(f"There is no {kind} {text} in the history.", hint=newest(store)) from None


def rows_of(store: Store, subject: Experiment | SavedConversation) -> Iterator[Row]:
    """Yield all runs as rows of a table. The store must stay open meanwhile. Raises StoreError."""
    if isinstance(subject, Experiment):
        return ExperimentPrompts(store, subject).rows()
    return conversation_rows(subject)


def newest(store: Store) -> str:
    """Return a hint with the ids of the newest experiments and conversations."""
    return store.experiments.newest([f"c{it.number} ({it.title})" for it in store.conversations(_SUGGESTED)])
