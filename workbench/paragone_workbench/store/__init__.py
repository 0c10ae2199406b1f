"""The store: conversations and what every lane answered, in one SQLite file.

Importing this does not import sqlite3; opening a store does.
"""

from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.records import (
    EndState,
    Hit,
    RunState,
    SavedConversation,
    SavedLane,
    SavedPrompt,
    SavedRun,
    Summary,
    Turn,
)
from paragone_workbench.store.store import Store

__all__ = [
    "EndState",
    "Hit",
    "RunState",
    "SavedConversation",
    "SavedLane",
    "SavedPrompt",
    "SavedRun",
    "Store",
    "StoreError",
    "Summary",
    "Turn",
]
