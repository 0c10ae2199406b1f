"""Records of the history that are damaged: each is named in a sentence, and the others can be read. Also a full disk."""

import resource
import shutil
import sqlite3
from contextlib import closing, contextmanager, suppress

import pytest
from tests.cli.conftest import paragone, said
from tests.workbench.conversation_writer import ConversationWriter
from tests.workbench.history_file import open_store
from tests.workbench.report_subjects import ENGINES, add_experiment

from paragone import Json, ParagoneError
from paragone_workbench.experiments.suite import saved_prompts
from paragone_workbench.paths import history_file, private_folder
from paragone_workbench.store import Store, StoreError
from paragone_workbench.store.votes import Measurement, Vote, VotedAnswer

GARBAGE = ["{", '[{"name": 1}]', "[" * 2000, "9" * 6000]

COLUMNS = [
    "lane.definition", "prompt.sampling", "run.result", "run.tokens", "manifest.data", "cell.assertions",
    "experiment.engines", "experiment.machine", "experiment_prompt.content", "measurement.engines",
    "measurement.data", "vote.candidates",
]  # fmt: skip
"""The columns with JSON, or in the case of `run.tokens` compressed JSON."""


PLAIN = [
    "run.engine", "run.text", "run.thinking", "run.started", "prompt.text", "prompt.system", "prompt.created",
    "every_conversation.title", "every_conversation.created", "every_conversation.updated", "every_conversation.opened",
]  # fmt: skip
"""Columns with texts and dates."""

ASSERTION: Json = {"index": 0, "type": "x", "passed": True, "reason": "y", "judges": "z"}


@pytest.fixture(scope="module")
def two_of_each(tmp_path_factory):
    """The file of a history with a conversation and an experiment of each kind of record, twice."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    with closing(open_store(path)) as store:
        for name in ("first", "second"):
            writer = ConversationWriter(store, name)
            writer.answer(writer.conversation.prompts[0], writer.lane(), "An answer.")
            add_experiment(store, {0: ("A", "B")}, assertions={0: ASSERTION}, name=name)
            store.measurements.add(Measurement(kind="bench", engines=ENGINES, data={"a": 1}, created=1))
            candidates = tuple(VotedAnswer(engine=it, backend="b", model="m", run="r") for it in "ab")
            store.votes.add(Vote(candidates=candidates, choice=0, blind=True, created=1))
    return path.read_bytes()


@pytest.fixture
def filled(home, two_of_each):
    """The history is a copy of that file."""
    private_folder(history_file().parent)
    history_file().write_bytes(two_of_each)


def read_all(store):
    """Read every record; return the errors."""
    errors = []

    def read(call):
        try:
            return call()
        except ParagoneError as error:
            errors.append(error)
            return None

    assert len(store.conversations()) == 2
    for summary in store.conversations():
        read(lambda number=summary.number: store.load(number))
    assert len(store.experiments.all()) == 2
    for number in (1, 2):
        read(lambda number=number: store.experiments.get(number))
        read(lambda number=number: list(saved_prompts(store, number)))
        read(lambda number=number: [run.checks for run in store.experiments.runs(number)])
        store.experiments.judges(number)
    read(store.votes.all)
    assert store.votes.all(skips_damaged=True)
    store.measurements.all("bench")
    store.search("answer")
    return errors


@pytest.mark.parametrize("column", PLAIN)
def test_a_value_of_a_wrong_type_loses_only_its_record(filled, column):
    table, name = column.split(".")
    for garbage in (b"\xff\x00", "abc"):
        with (
            closing(sqlite3.connect(history_file(), isolation_level=None)) as database,
            suppress(sqlite3.IntegrityError),  # the file does not take it
        ):
            database.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = 1", (garbage,))
        with closing(open_store()) as store:
            errors = read_all(store)
            assert len(errors) <= 2
            assert all("cannot be read" in error.message for error in errors)
            assert all(isinstance(name, str) for name in store.costs())
            assert {hit.title for hit in store.search("second")} == {"second"}
            for hit in store.search("e"):
                assert isinstance(hit.snippet, str)
                assert isinstance(hit.time, float)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_damaged_record_leaves_the_others_readable(filled, column):
    table, name = column.split(".")
    for garbage in GARBAGE:
        value = garbage.encode() if name == "tokens" else garbage
        with closing(sqlite3.connect(history_file(), isolation_level=None)) as database:
            key = {"manifest": "sha256", "experiment_prompt": "experiment_id"}.get(table, "rowid")
            (first,) = database.execute(f"SELECT {key} FROM {table} ORDER BY {key} LIMIT 1").fetchone()
            database.execute(f"UPDATE {table} SET {name} = ? WHERE {key} = ?", (value, first))
        with closing(open_store()) as store:
            errors = read_all(store)
        assert len(errors) <= 2, garbage
        assert all("cannot be read" in error.message or "cannot read" in error.message for error in errors)
        assert not any(isinstance(error, StoreError) and error.can_pass for error in errors), (
            "nothing is retried"
        )


@contextmanager
def full_disk():
    """No file can grow: the limit of the system stands in for a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("case", ["closed", "killed", "open in another program"])
def test_a_read_only_history_is_read_and_written_later(home, filled, tmp_path, case):
    path = history_file()
    with closing(open_store()) as other:
        other.pin(1, pinned=True)
        if case == "killed":  # the last change is only in the log
            path = tmp_path / path.name
            for end in ("", "-wal"):
                shutil.copy(f"{history_file()}{end}", f"{path}{end}")
        elif case == "closed":
            other.close()
        with full_disk():
            store = Store.open(path)
            assert store.warning.startswith("Nothing is saved, but the history can be read. The history in")
            assert [it.is_pinned for it in store.conversations()] == [True, False]
            assert read_all(store) == []
            with pytest.raises(StoreError, match="cannot be used") as caught:
                store.pin(2, pinned=True)
            assert caught.value.can_pass
            assert read_all(store) == []
        store.pin(2, pinned=True)
        assert [it.is_pinned for it in store.conversations()] == [True, True]
        ConversationWriter(store, "third")
        store.close()
    with closing(Store.open(path)) as again:
        assert (again.warning, len(again.conversations())) == ("", 3)


def test_creating_a_history_on_a_full_disk_raises_an_error(home):
    with full_disk(), pytest.raises(StoreError, match="cannot be used"):
        Store.open()


@pytest.mark.parametrize("missing", ["the last page", "all but nulls", "all"])
def test_a_damaged_file_is_kept_and_its_recoverable_records_are_reported(home, tmp_path, missing):
    path = history_file()
    with closing(open_store()) as store:
        for number in range(20):
            writer = ConversationWriter(store, f"{number} " * 500)
            writer.answer(writer.conversation.prompts[0], writer.lane(), "An answer.")
        listed = [(it.title, it.prompts) for it in store.conversations(99)]
    whole = path.read_bytes()
    damaged = {
        "the last page": whole[:-4096],
        "all but nulls": b"\0" * 5000,
        "all": b"This is a letter. " * 100,
    }
    path.write_bytes(damaged[missing])
    count = 20 if missing == "the last page" else 0
    found = f"At least {count} conversations and {count} prompts in it can be recovered."
    done = paragone("history")
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"The history in {path} is damaged. {found}" in said(done)
    assert f"`sqlite3 {path} .recover` may recover more" in said(done)
    saved = tmp_path / "saved.jsonl"
    done = paragone("history", "export", "--all", "--to", str(saved))
    assert path.read_bytes() == damaged[missing]
    assert done.returncode == (0 if count else 1)
    if count:
        path.unlink()
        assert paragone("history", "import", str(saved)).returncode == 0
        with closing(Store.open()) as store:
            assert [(it.title, it.prompts) for it in store.conversations(99)] == listed


def test_conversations_are_exported_although_their_index_is_damaged(home, tmp_path):
    with closing(open_store()) as store:
        for number in range(20):
            writer = ConversationWriter(store, f"{number} " * 500)
            writer.answer(writer.conversation.prompts[0], writer.lane(), "An answer.")
        ((page,),) = store._database.rows(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'conversation_used'"
        )
    path = history_file()
    content = path.read_bytes()
    path.write_bytes(content[: (page - 1) * 4096] + b"\xff" * 4096 + content[page * 4096 :])
    listed = paragone("history")
    assert listed.returncode == 1
    assert "`paragone history export --all --to saved.jsonl` writes the conversations" in said(listed)
    done = paragone("history", "export", "--all", "--to", str(tmp_path / "saved.jsonl"))
    assert (done.returncode, "has 20 conversations" in said(done)) == (0, True), said(done)
