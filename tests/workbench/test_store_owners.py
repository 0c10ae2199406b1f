"""Runs of killed programs are marked as interrupted; those of living programs are not."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.workbench.conversation_writer import ConversationWriter

from paragone_workbench.paths import history_file
from paragone_workbench.store import Store, StoreError
from paragone_workbench.store import database as owners
from paragone_workbench.store.database import Owner

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from tests.workbench.conversation_writer import ConversationWriter
from paragone_workbench.store import Store

store = Store.open()
writer = ConversationWriter(store, "Go on")
lanes = [writer.lane() for _ in range(2)]
runs = [writer.start(writer.conversation.prompts[0], lane) for lane in lanes]
for n in range(3):
    for run in runs:
        writer.add(run, f"striped {n} ", "hm ")
print(writer.number, flush=True)
if sys.stdin.readline() == "end\\n":
    writer.end(runs[0], lanes[0])
    store.close()
"""


def begin(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture
def start():
    programs = []

    def start():
        program = begin(PROGRAM)
        programs.append(program)
        return program, int(program.stdout.readline())

    yield start
    for program in programs:
        program.kill()
        program.communicate()


def states(store, conversation):
    """Return the states of the runs in the file."""
    sql = (
        "SELECT state FROM run JOIN turn ON run_id = run.id JOIN prompt ON prompt.id = prompt_id"
        " JOIN conversation ON conversation.id = conversation_id WHERE conversation.number = ? ORDER BY run.number"
    )
    return [state for (state,) in store._database.rows(sql, conversation)]


def test_text_saved_by_a_killed_program_is_kept_as_interrupted(start):
    program, conversation = start()
    program.send_signal(signal.SIGKILL)
    program.wait()
    store = Store.open()
    for run in store.load(conversation).runs:
        assert (run.text, run.thinking) == ("striped 0 striped 1 striped 2 ", "hm hm hm ")
        assert (run.state, run.result.ended) == ("interrupted", None)
    assert len(store.search("striped")) == 2
    assert store._database.rows("SELECT count(*) FROM piece") == [(0,)]
    assert store._database.rows("SELECT count(*) FROM owner") == [(1,)]
    assert len(list(history_file().with_name("history.db.owners").iterdir())) == 1
    store.close()


def test_two_stores_in_one_program_have_separate_locks():
    one = Store.open()
    writer = ConversationWriter(one, "x")
    writer.start(writer.conversation.prompts[0], writer.lane())
    conversation = writer.number
    two = Store.open()
    assert states(two, conversation) == ["running"]
    two.close()
    assert states(one, conversation) == ["running"]
    one.close()
    assert not any(history_file().with_name("history.db.owners").iterdir())


def test_a_surviving_child_process_does_not_hold_the_lock():
    code = PROGRAM.replace(
        "print(", "import subprocess; child = subprocess.Popen(['sleep', '60']); print(child.pid); print("
    )
    program = begin(code)
    child, conversation = int(program.stdout.readline()), int(program.stdout.readline())
    try:
        program.kill()
        program.wait()
        store = Store.open()
        assert states(store, conversation) == ["interrupted", "interrupted"]
        store.close()
    finally:
        os.kill(child, signal.SIGKILL)
        program.communicate()


@pytest.fixture
def opening():
    """Another instance of paragone that does not finish opening the history."""
    history_file().parent.mkdir(parents=True)
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print(flush=True); sys.stdin.read()"
    )
    lock = history_file().with_name("history.db.opening")
    program = begin(code, lock)
    program.stdout.readline()
    yield program
    program.kill()
    program.wait()
    program.stdin.close()
    program.stdout.close()


def test_another_instance_that_hangs_while_opening_is_reported(opening, monkeypatch):
    monkeypatch.setattr(owners, "OTHER_OPENING_S", 0.3)
    with pytest.raises(StoreError, match="another instance of paragone has been opening it") as caught:
        Store.open()
    assert caught.value.can_pass
    assert f"{history_file()}.opening" in caught.value.hint
    assert not history_file().exists()
    opening.stdin.close()
    opening.wait()
    Store.open().close()


def test_an_instance_that_has_not_yet_locked_its_file_counts_as_running(tmp_path, monkeypatch):
    other, lock = Owner(tmp_path / "owners"), fcntl.flock

    def late(handle, how):
        if how == fcntl.LOCK_EX:
            monkeypatch.setattr(fcntl, "flock", lock)
            other.alive()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    owner = Owner(tmp_path / "owners")
    assert other.alive() == owner.alive() == {owner.lock, other.lock}
    owner.release()
    assert other.alive() == {other.lock}
    other.release()
