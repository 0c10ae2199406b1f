"""Files of other versions: a file that a script can update is migrated."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from paragone_workbench.store import StoreError
from paragone_workbench.store.database import SCHEMA, Database

NEWEST = max(int(path.name[:4]) for path in SCHEMA.iterdir())


@pytest.fixture
def schema(tmp_path):
    """A folder with the schema of a new file, for tests to add more."""
    return shutil.copytree(SCHEMA, tmp_path / "schema")


@pytest.fixture
def old(tmp_path):
    """A history before the scripts that a test adds."""
    path = tmp_path / "history.db"
    with closing(Database(path)) as database:
        database.run("INSERT INTO every_conversation (id, title, created, updated) VALUES ('x', 'old', 1, 1)")
    return path


def version(path):
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute("PRAGMA user_version").fetchone()[0]


def test_migration_scripts_update_an_old_file_and_create_a_new_one(old, schema, tmp_path):
    (schema / f"{NEWEST + 1:04}_more.sql").write_text(
        "ALTER TABLE every_conversation ADD COLUMN more TEXT;\nCREATE TABLE yet_more (x)  -- the end"
    )
    (schema / f"{NEWEST + 2:04}_trigger.sql").write_text(
        "CREATE TRIGGER t AFTER INSERT ON lane BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
    )
    for path, titles in ((old, [("old", None)]), (tmp_path / "new.db", [])):
        with closing(Database(path, schema)) as database:
            assert database.rows("SELECT title, more FROM every_conversation") == titles
        assert version(path) == NEWEST + 2


def test_a_migration_that_fails_changes_nothing(old, schema):
    (schema / f"{NEWEST + 1:04}_more.sql").write_text("ALTER TABLE every_conversation ADD COLUMN more TEXT;")
    (schema / f"{NEWEST + 2:04}_broken.sql").write_text("ALTER TABLE nowhere ADD COLUMN x;")
    with pytest.raises(StoreError, match="nowhere"):
        Database(old, schema)
    assert version(old) == NEWEST
    with closing(Database(old)) as database:
        assert database.rows("SELECT title FROM conversation") == [("old",)]
