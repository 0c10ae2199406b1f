"""The store: conversations and the answers of all lanes, in one SQLite file.

Importing the package loads none of its modules. Each name is loaded on first use, so that the program starts
fast. The recorder, which saves a conversation as it grows, is in `paragone_workbench.store.recording.recorder`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.store.errors import ConversationDeleted, StoreError
    from paragone_workbench.store.experiment_records import (
        Experiment,
        ExperimentRun,
        Measurement,
        RunKey,
        SavedVote,
    )
    from paragone_workbench.store.history import History
    from paragone_workbench.store.recording.changes import Changes, LaneRow, NewText, TurnRow
    from paragone_workbench.store.records import Hit, LaneRecord, SavedConversation, Summary
    from paragone_workbench.store.store import Store

__all__ = [
    "Changes",
    "ConversationDeleted",
    "Experiment",
    "ExperimentRun",
    "History",
    "Hit",
    "LaneRecord",
    "LaneRow",
    "Measurement",
    "NewText",
    "RunKey",
    "SavedConversation",
    "SavedVote",
    "Store",
    "StoreError",
    "Summary",
    "TurnRow",
]

_MODULES = {
    "Changes": "recording.changes",
    "ConversationDeleted": "errors",
    "Experiment": "experiment_records",
    "ExperimentRun": "experiment_records",
    "History": "history",
    "Hit": "records",
    "LaneRecord": "records",
    "LaneRow": "recording.changes",
    "Measurement": "experiment_records",
    "NewText": "recording.changes",
    "RunKey": "experiment_records",
    "SavedConversation": "records",
    "SavedVote": "experiment_records",
    "Store": "store",
    "StoreError": "errors",
    "Summary": "records",
    "TurnRow": "recording.changes",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
