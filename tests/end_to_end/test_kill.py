"""The program is killed while two lanes answer: the next start finds what was saved."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
from tests.end_to_end.program import PATIENCE

from paragone_workbench.runs.run import Run
from paragone_workbench.store import Store

pytestmark = pytest.mark.alone

WITHIN = 1.0
"""Text of this many seconds before the kill may be lost."""

SESSION = """
import asyncio, json, sys, time
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.lanes.lane import LaneObserver
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.session import Session
from paragone_workbench.store import History

class Printer(LaneObserver):
    def text_came(self, lane, run, channel, text):
        print(json.dumps([session.lanes.index(lane), time.monotonic(), text]), flush=True)

async def main():
    global session
    session = Session(Registry())
    session.recorder.open(await History.open())
    for definition in json.loads(sys.argv[1]):
        session.add_lane(EngineDefinition(**definition)).observers.append(Printer())
    session.open_engines()
    await asyncio.gather(*(lane.engine.opened() for lane in session.lanes))
    session.send("Write a long story about a dog and its town.")
    await session.answered()

asyncio.run(main())
"""


def killed_after(seconds: float, definitions: list[dict[str, object]]) -> list[tuple[str, str]]:
    """Run a session, kill it after all lanes have written for some time, and return the text of each lane.

    Returns two texts for each lane: all that was printed before the kill, and the part that was printed earlier
    than `WITHIN` seconds before the kill.
    """
    program = subprocess.Popen(
        [sys.executable, "-c", SESSION, json.dumps(definitions)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    with program, program.stdout as said:
        try:
            came: list[tuple[int, float, str]] = []
            first: dict[int, float] = {}
            while len(first) < len(definitions) or came[-1][1] < max(first.values()) + seconds:
                lane, moment, text = json.loads(said.readline())
                first.setdefault(lane, moment)
                came.append((lane, moment, text))
            workers = psutil.Process(program.pid).children(recursive=True)
            assert len(workers) == len(definitions)
            end = time.monotonic()
            program.send_signal(signal.SIGKILL)
            came += [json.loads(line) for line in said if line.endswith("\n")]
        finally:
            program.kill()
    _, alive = psutil.wait_procs(workers, PATIENCE)
    assert not alive, "the workers are still running after the program ended"
    return [
        (
            "".join(text for it, _, text in came if it == lane),
            "".join(text for it, moment, text in came if it == lane and moment <= end - WITHIN),
        )
        for lane in range(len(definitions))
    ]


def found() -> list[Run]:
    """Return the runs that the next start of the program loads."""
    store = Store.open()
    assert not store.warning
    (summary,) = store.conversations()
    runs = [lane.head for lane in store.load(summary.number).lanes]
    store.close()
    assert None not in runs
    return [run for run in runs if run is not None]


def check(said: list[tuple[str, str]]) -> None:
    runs = found()
    assert len(runs) == len(said)
    for run, (everything, must) in zip(runs, said, strict=True):
        assert run.state == "interrupted"
        assert run.result.manifest
        assert must
        assert run.text.startswith(must)
        assert everything.startswith(run.text)
    assert [run.text for run in found()] == [run.text for run in runs], "loading does not change them"


def test_a_kill_while_two_lanes_answer() -> None:
    options = {"max_tokens": 10**6, "rate": 50}
    check(
        killed_after(
            1.5,
            [
                {"name": model, "backend": "rogue", "model": model, "options": options}
                for model in ("steady", "wide")
            ],
        )
    )
