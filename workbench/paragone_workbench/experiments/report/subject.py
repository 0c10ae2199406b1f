"""What a report is about: an experiment or a conversation of the history, by its id."""

from __future__ import annotations

import re
from collections.abc import Callable

from paragone import Backend, InputError
from paragone_workbench.experiments.report.content import Report
from paragone_workbench.experiments.report.conversation import conversation_report
from paragone_workbench.experiments.report.experiment import experiment_report
from paragone_workbench.experiments.report.measurements import measurements_of
from paragone_workbench.experiments.report.ratings import ratings_view
from paragone_workbench.store.experiment_records import Experiment
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.store.store import Store
from paragone_workbench.visible_text import visible

__all__ = ["find_subject", "report_of"]

_ID = re.compile(r"(?P<kind>[ec])(?P<number>\d{1,18})")
_SUGGESTED = 5
"""Number of ids that the message about an unknown one lists."""


def find_subject(store: Store, text: str) -> Experiment | SavedConversation:
    """Return the experiment (`e3`) or the conversation (`c7`) with this id.

    Raises InputError, which lists the newest ones, and StoreError.
    """
    match = _ID.fullmatch(text)
    if match is None:
        raise InputError(
            f"{visible(text)!r} is not the id of an experiment or a conversation.", hint=_newest(store)
        )
    number = int(match["number"])
    try:
        return store.experiments.get(number) if match["kind"] == "e" else store.load(number)
    except InputError:
        kind = "experiment" if match["kind"] == "e" else "conversation"
        raise InputError(f"There is no {kind} {text} in the history.", hint=_newest(store)) from None


def report_of(
    store: Store, subject: Experiment | SavedConversation, find: Callable[[str], Backend | None]
) -> Report:
    """Return the report. `find` returns the backend of a name. The store must stay open while it is written.

    Raises InputError if a package for the figures is missing, and StoreError.
    """
    if isinstance(subject, Experiment):
        return experiment_report(
            store,
            subject,
            find,
            ratings=ratings_view(store.votes.all(subject.id)),
            measurements=measurements_of(store, subject.engines, find),
        )
    prompts = {prompt.id for prompt in subject.conversation.prompts}
    votes = [vote for vote in store.votes.all() if vote.prompt_id is not None and vote.prompt_id in prompts]
    engines = [lane.definition for lane in subject.lanes]
    return conversation_report(
        subject, find, ratings=ratings_view(votes), measurements=measurements_of(store, engines, find)
    )


def _newest(store: Store) -> str:
    """Return a hint with the ids of the newest experiments and conversations."""
    found = [f"e{it.id} ({it.name})" for it in store.experiments.all()[:_SUGGESTED]]
    found += [f"c{it.id} ({it.title})" for it in store.conversations(_SUGGESTED)]
    return f"The newest are: {visible(', '.join(found))}." if found else "The history has none yet."
