"""Files of other versions: a file that a script can update is migrated, an older file is set aside."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from tests.workbench.history_file import open_store, rows

from paragone_workbench.paths import history_file
from paragone_workbench.store import Store, StoreError
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


def test_scripts_after_its_version_update_a_file_and_make_a_new_one(old, schema, tmp_path):
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


def test_a_file_older_than_the_first_script_is_set_aside(home):
    for name in ("history.db.v14.bak", "history.db.v14.bak-2"):
        open_store().close()
        with closing(sqlite3.connect(history_file())) as raw:
            raw.execute(
                f"INSERT INTO every_conversation (id, title, created, updated) VALUES ('x', '{name}', 1, 1)"
            )
            raw.execute("PRAGMA user_version = 14")
            raw.commit()
        aside = history_file().with_name(name)
        with closing(Store.open()) as store:
            assert f"was moved to {aside}, and a new one was created" in store.warning
            assert not rows("SELECT 1 FROM conversation")
        with closing(sqlite3.connect(aside)) as raw:
            assert raw.execute("SELECT title FROM conversation").fetchall() == [(name,)]
        assert version(aside) == 14
