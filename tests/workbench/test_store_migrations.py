import contextlib
import shutil
import sqlite3
import stat

import pytest

from paragone import Image
from paragone_workbench.store import Store, StoreError
from paragone_workbench.store._database import MIGRATIONS, Database


@pytest.fixture
def migrations(tmp_path):
    """The first alone, for more to be added."""
    (tmp_path / "migrations").mkdir()
    shutil.copy(MIGRATIONS / "0001_first.sql", tmp_path / "migrations")
    return tmp_path / "migrations"


@pytest.fixture
def old(tmp_path, migrations):
    """A history that an older version of the program left."""
    path = tmp_path / "history.db"
    database = Database(path, migrations)
    database.run("INSERT INTO conversation (title, created, updated) VALUES ('old', 1, 1)")
    database.close()
    return path


def version(path):
    raw = sqlite3.connect(path)
    number = raw.execute("PRAGMA user_version").fetchone()[0]
    raw.close()
    return number


def test_numbers_begin_at_one_and_leave_none_out():
    names = sorted(path.name for path in MIGRATIONS.iterdir())
    assert [name[:5] for name in names] == [f"{number:04}_" for number in range(1, len(names) + 1)]


def test_a_new_file_gets_them_all(tmp_path, migrations):
    (migrations / "0002_more.sql").write_text("CREATE TABLE more (x);\nCREATE TABLE yet_more (x)  -- the end")
    Database(tmp_path / "history.db", migrations).close()
    assert version(tmp_path / "history.db") == 2
    assert not list(tmp_path.glob("*.bak"))


def test_an_older_file_is_copied_and_brought_up_to_date(old, migrations):
    (migrations / "0002_more.sql").write_text("ALTER TABLE conversation ADD COLUMN more TEXT;")
    (migrations / "0003_trigger.sql").write_text(
        "CREATE TRIGGER t AFTER INSERT ON lane BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
    )
    database = Database(old, migrations)
    assert database.rows("SELECT title, more FROM conversation") == [("old", None)]
    database.close()
    backup = old.with_name("history.db.v1.bak")
    assert (version(old), version(backup)) == (3, 1)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    raw = sqlite3.connect(backup)
    assert raw.execute("SELECT title FROM conversation").fetchall() == [("old",)]
    raw.close()


def test_a_migration_that_fails_changes_nothing(old, migrations):
    (migrations / "0002_more.sql").write_text("ALTER TABLE conversation ADD COLUMN more TEXT;")
    (migrations / "0003_broken.sql").write_text("ALTER TABLE nowhere ADD COLUMN x;")
    with pytest.raises(StoreError, match="nowhere"):
        Database(old, migrations)
    assert version(old) == 1
    (migrations / "0003_broken.sql").unlink()
    (migrations / "0002_more.sql").unlink()
    database = Database(old, migrations)
    assert database.rows("SELECT * FROM conversation") == [(1, "old", "", 1.0, 1.0)]
    database.close()


def test_a_history_without_images_gets_room_for_them(old):
    with contextlib.closing(sqlite3.connect(old)) as raw, raw:
        raw.execute("INSERT INTO prompt (conversation_id, text, created) VALUES (1, 'hello', 1)")
    store = Store.open(old)
    image = Image(data="AAEC", media_type="image/png", name="cat.png")
    prompt = store.add_prompt(1, "and this?", parent_id=1, images=[image, image])
    saved = store.load(1)
    assert [(it.text, it.images) for it in saved.prompts] == [("hello", ()), ("and this?", (image, image))]
    store.delete_conversation(1)
    store.close()
    with contextlib.closing(sqlite3.connect(old)) as raw:
        assert prompt == 2
        assert raw.execute("SELECT count(*) FROM image").fetchone() == (0,)
