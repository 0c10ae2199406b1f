"""The subject of a report, which is an experiment or a conversation of the history, and its runs as rows of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from paragone import InputError
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments.ids import parse_id
from paragone_workbench.lanes.names import names_of
from paragone_workbench.reporting.subjects.experiment_prompts import experiment_rows
from paragone_workbench.reporting.table import TableRow
from paragone_workbench.runs.context import path_to
from paragone_workbench.store.experiment_records import Experiment
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.store.store import Store
from paragone_workbench.visible_text import visible

_SUGGESTED = 5
"""Number of conversations that the message about an unknown id lists."""


def find_subject(store: Store, text: str) -> Experiment | SavedConversation:
    """Return the experiment (`e3`) or the conversation (`c7`) with this id.

    Raises InputError, with the ids of the newest subjects, for an unknown id, and StoreError if the history cannot be read.
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


def rows_of(store: Store, subject: Experiment | SavedConversation, find: BackendLookup) -> Iterator[TableRow]:
    """Yield all runs as rows of a table. `find` returns the backend with a given name. The store must stay open. Raises StoreError."""
    if isinstance(subject, Experiment):
        return experiment_rows(store, subject)
    return conversation_rows(subject, find)


def conversation_rows(saved: SavedConversation, find: BackendLookup) -> Iterator[TableRow]:
    """Yield all runs of a conversation as rows of a table, lane by lane. `find` returns the backend with a given name."""
    places = {prompt: index for index, prompt in enumerate(saved.conversation.prompts)}
    names = names_of(saved.lanes, find)
    for lane in saved.lanes:
        path = path_to(lane.head)
        answered: Counter[Prompt] = Counter()
        for run in lane.runs:
            assert run.prompt is not None  # a run of a conversation answers a prompt
            engine = run.result.definition.name
            yield TableRow(
                result=run.result,
                id=f"r{run.number}",
                engine=names[lane.id] if engine == lane.definition.name else engine,
                prompt_index=places[run.prompt],
                repetition=answered[run.prompt],
                prompt=run.prompt.text,
                chosen=run in path,
            )
            answered[run.prompt] += 1


def newest(store: Store) -> str:
    """Return a hint with the ids of the newest experiments and conversations."""
    found = store.conversations(_SUGGESTED)
    return store.experiments.newest([f"c{summary.number} ({summary.title})" for summary in found])
