"""Programs that are killed while their lanes answer, and others that are not."""

import signal
import subprocess
import sys

import pytest

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import history_file
from paragone_workbench.store import Store

SMOL = EngineDefinition(name="smol", backend="paper", model="m")

PROGRAM = """
import sys
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.store import Store

smol = EngineDefinition(name="smol", backend="paper", model="m")
store = Store.open()
conversation = store.new_conversation()
lanes = [store.add_lane(conversation, smol, position=n) for n in range(2)]
prompt = store.add_prompt(conversation, "Go on", parent_id=None)
runs = [
    store.start_run(prompt_id=prompt, lane_id=lane, definition=smol, manifest={}) for lane in lanes
]
for n in range(3):
    for run in runs:
        store.append_run(run, text=f"striped {n} ", thinking="hm ")
print(conversation, flush=True)
if sys.stdin.readline() == "end\\n":
    store.end_run(runs[0], "done")
    store.close()
"""


@pytest.fixture
def start():
    programs = []

    def start():
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        programs.append(program)
        return program, int(program.stdout.readline())

    yield start
    for program in programs:
        program.kill()
        program.communicate()


def states(store, conversation):
    return [lane.turns[0].run.state for lane in store.load(conversation).lanes]


def test_a_killed_program_leaves_what_it_had_saved(start):
    program, conversation = start()
    program.send_signal(signal.SIGKILL)
    program.wait()
    store = Store.open()
    for lane in store.load(conversation).lanes:
        run = lane.turns[0].run
        assert (run.text, run.thinking) == ("striped 0 striped 1 striped 2 ", "hm hm hm ")
        assert (run.state, run.ended) == ("interrupted", None)
    assert len(store.search("striped")) == 2
    assert store._database.rows("SELECT count(*) FROM piece") == [(0,)]
    assert store._database.rows("SELECT count(*) FROM owner") == [(1,)]
    assert len(list(history_file().with_name("history.db.owners").iterdir())) == 1
    store.close()


def test_a_living_programs_runs_are_left_alone(start):
    living, theirs = start()
    dead, lost = start()
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    store = Store.open()
    assert states(store, theirs) == ["running", "running"]
    assert states(store, lost) == ["interrupted", "interrupted"]
    assert store.load(theirs).lanes[0].turns[0].run.text == "striped 0 striped 1 striped 2 "
    living.communicate("end\n")
    assert states(store, theirs) == ["done", "interrupted"], "it closed in order, with one run under way"
    store.close()


def test_two_stores_of_one_program_are_two_owners():
    one = Store.open()
    conversation = one.new_conversation()
    lane = one.add_lane(conversation, SMOL, position=0)
    prompt = one.add_prompt(conversation, "x", parent_id=None)
    one.start_run(prompt_id=prompt, lane_id=lane, definition=SMOL, manifest={})
    two = Store.open()
    assert states(two, conversation) == ["running"]
    two.close()
    assert states(one, conversation) == ["running"]
    one.close()
    assert not any(history_file().with_name("history.db.owners").iterdir())


def test_many_programs_that_start_at_once(start):
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [program.communicate("end\n")[0] for program in programs]
    assert [program.returncode for program in programs] == [0] * 4
    assert len({int(line) for line in said}) == 4


def test_a_child_of_the_program_does_not_keep_it_alive():
    code = PROGRAM.replace(
        "print(", "import subprocess; child = subprocess.Popen(['sleep', '60']); print(child.pid); print("
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child, conversation = int(program.stdout.readline()), int(program.stdout.readline())
    try:
        program.kill()
        program.wait()
        store = Store.open()
        assert states(store, conversation) == ["interrupted", "interrupted"]
        store.close()
    finally:
        import os

        os.kill(child, signal.SIGKILL)
        program.communicate()
