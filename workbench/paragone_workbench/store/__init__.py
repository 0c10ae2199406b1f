"""The store: conversations and the answers of all lanes, in one SQLite file.

Importing the package does not load its modules: each name is loaded on first use, so that the program starts fast.
The recorder, which saves a conversation as it grows, is in `paragone_workbench.store.saving`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.store.errors import StoreError as StoreError
    from paragone_workbench.store.experiments import Experiment as Experiment
    from paragone_workbench.store.experiments import ExperimentRun as ExperimentRun
    from paragone_workbench.store.experiments import RunKey as RunKey
    from paragone_workbench.store.records import LaneRecord as LaneRecord
    from paragone_workbench.store.records import SavedConversation as SavedConversation
    from paragone_workbench.store.saving import History as History
    from paragone_workbench.store.store import Store as Store

_NAMES = {
    "errors": ("StoreError",),
    "experiments": ("Experiment", "ExperimentRun", "RunKey"),
    "records": ("LaneRecord", "SavedConversation"),
    "saving": ("History",),
    "store": ("Store",),
}


def __getattr__(name: str) -> object:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
