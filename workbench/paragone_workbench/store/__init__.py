"""The store: conversations and what every lane answered, in one SQLite file.

Importing this imports neither sqlite3 nor asyncio; opening a store does. The recorder, which saves what
happens, is in `paragone_workbench.store.recorder`.
"""

from paragone_workbench.store.batch import Batch, LaneRow, NewText, Record, RunRow
from paragone_workbench.store.errors import ConversationDeleted, StoreError
from paragone_workbench.store.history import History
from paragone_workbench.store.records import Hit, LaneRecord, SavedConversation, Summary
from paragone_workbench.store.store import Store

__all__ = [
    "Batch",
    "ConversationDeleted",
    "History",
    "Hit",
    "LaneRecord",
    "LaneRow",
    "NewText",
    "Record",
    "RunRow",
    "SavedConversation",
    "Store",
    "StoreError",
    "Summary",
]
