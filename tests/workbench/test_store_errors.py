"""Which of SQLite's errors are temporary, so that saving is tried again."""

import sqlite3
from pathlib import Path

from paragone_workbench.store.errors import store_error

NAMES = sorted(
    name
    for name, value in vars(sqlite3).items()
    if name.startswith("SQLITE_")
    and isinstance(value, int)
    and not name.startswith(("SQLITE_LIMIT_", "SQLITE_DBCONFIG_"))
)
"""All result codes that this interpreter knows; some of them are not errors."""
PERMANENT = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_TOOBIG", "SQLITE_CONSTRAINT")


def test_only_errors_known_to_be_permanent_end_saving():
    names = [*NAMES, "SQLITE_OF_A_LATER_VERSION"]
    assert len(names) > 100
    for name in names:
        error = sqlite3.OperationalError("went wrong")
        error.sqlite_errorname = name
        told = store_error(Path("/h/history.db"), error)
        assert told.can_pass is not name.startswith(PERMANENT), name
        assert "/h/history.db" in told.message, name
