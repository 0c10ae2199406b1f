"""Screenshots of the main states, so that changes are visible in review.

The engines are rogue doubles and the figures in the status lines are fixed, so that the pictures are the same
on every machine. `pytest --snapshot-update` updates them.
"""

import asyncio
import dataclasses
import random
import time
from collections.abc import Awaitable, Callable
from math import log
from pathlib import Path

import pytest
from rogue_backend.definitions import rogue
from rogue_backend.plugin import RogueBackend
from textual.pilot import Pilot

from paragone import Alternative, ModelInfo, Probe, Token
from paragone_tui.app import ParagoneApp
from paragone_tui.screens.divergence import DivergenceSheet
from paragone_tui.screens.lanes.status import LaneStatusInfo
from paragone_tui.transcript.text import Mark
from paragone_workbench.compare.diff import differing_spans
from paragone_workbench.compare.divergence import Divergence, fork_of
from paragone_workbench.config import read as config
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import state_file
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run

from .conftest import PATIENCE, Screen

Step = Callable[[ParagoneApp, Pilot[None]], Awaitable[None]]


@pytest.fixture
def photograph(snap_compare, home: Path, monkeypatch: pytest.MonkeyPatch):
    """Compare the screen after some steps with its picture."""
    monkeypatch.chdir(home)
    monkeypatch.setattr(
        "paragone_workbench.engines.failures.engine_log", lambda engine: Path(f"{engine}.log")
    )

    def compare(*definitions: EngineDefinition, step: Step, size: tuple[int, int] = (100, 24)) -> bool:
        state = State(state_file())
        app = ParagoneApp(
            config=config.load(state=state),
            state=state,
            registry=Registry(),
            definitions=definitions,
            mode="parallel",
            system="",
        )

        async def before(pilot: Pilot[None]) -> None:
            await until(
                pilot,
                lambda: (
                    app.history is not None
                    and not any(it.engine.is_opening for it in app.lanes.session.lanes)
                ),
            )
            await step(app, pilot)
            for column in app.lanes.lanes.columns:
                # What was measured differs each time; the state and the name do not.
                column._figures.stop()
                column.status.show(LaneStatusInfo())  # a new state is shown immediately
                column.status.show(
                    LaneStatusInfo(
                        mark=column._mark,
                        engine=column.lane.name,
                        others=column._others,
                        state=column.lane.state,
                        tokens=20,
                        tokens_per_s=57.3,
                        ttft_s=0.123,
                        context_used=1234,
                        context_size=4096,
                    )
                )
                # Events of the engine that come later leave the picture as it is.
                monkeypatch.setattr(column.status, "show", lambda info: None)
            await pilot.pause()

        return snap_compare(app, run_before=before, terminal_size=size)

    return compare


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the state to be photographed was not reached"
        await pilot.pause()
        await asyncio.sleep(0.02)
    await pilot.pause()


async def ask(app: ParagoneApp, pilot: Pilot[None], text: str = "What is a paragone?") -> None:
    app.lanes.composer.insert(text)
    await pilot.press("enter")
    await until(pilot, lambda: not app.lanes.session.is_busy)
    await settle(app, pilot)


async def settle(app: ParagoneApp, pilot: Pilot[None]) -> None:
    await until(
        pilot,
        lambda: (
            not any(
                block.wants_typesetting for it in app.lanes.lanes.columns for block in it.transcript.blocks
            )
            and not app.lanes.lanes.differences._to_compare
            and not app.running_workers(("act", "vocabulary"))
            and not any(cadence.waiting for cadence in Screen(app, pilot).cadences)
        ),
    )


def test_no_lane(photograph):
    async def step(app, pilot):
        await pilot.press("escape")

    assert photograph(step=step)


def test_words_that_differ(photograph):
    """Answers of models, put into the lanes of the double."""
    texts = (
        "The sky looks **blue** because air scatters short waves more:\n\n- red is 650 nm\n- blue is 450 nm",
        "The sky is **blue** because molecules scatter short waves more:\n\n- red has 700 nm\n- blue is 450 nm",
    )

    async def step(app, pilot):
        turn = object()
        for column, text in zip(app.lanes.lanes.columns, texts, strict=True):
            column.transcript.add("prompt", "Why is the sky blue?", turn=turn)
            column.transcript.write(text)
            column.transcript.end()
        parting = (Mark(8, 10, "diverges"),)
        differs = tuple(Mark(*span, "differs") for span in differing_spans(*texts))
        app.lanes.lanes.columns[1].transcript.mark(turn, "answer", (differs, (), parting))
        app.lanes.show_state()  # hides the guide, since no run does
        await settle(app, pilot)

    assert photograph(rogue("steady", "left"), rogue("steady", "right"), step=step)


def test_where_answers_diverge(photograph):
    async def step(app, pilot):
        await ask(app, pilot)
        answers: list[tuple[str, RunResult, Divergence | None]] = []
        for name, chosen in (("left", " blue"), ("right", " dark")):
            run = Run.of(rogue("steady", name))
            run.result = dataclasses.replace(run.result, manifest={"request": {"logprobs": 3}})
            shares = (
                {" blue": 0.55, " dark": 0.31, "\n": 0.08}
                if name == "left"
                else {" dark": 0.44, " blue": 0.4, " sea": 0.01}
            )
            top = tuple(Alternative(text=text, logprob=log(share)) for text, share in shares.items())
            for text in ("The sky looks", chosen):
                run.keep(Token(text=text, logprob=log(shares.get(text, 1.0)), top=top, time=0.0))
                run.add("answer", text)
            answers.append((name, run.result, Divergence(token=1, char=14) if answers else None))
        app.push_screen(DivergenceSheet("What is it like?", [fork_of(answers)], 0, lambda *_: None))
        await pilot.pause()

    assert photograph(rogue("steady", "left"), rogue("wide", "right"), step=step)


def test_a_crash_beside_an_answer(photograph):
    assert photograph(rogue("abort", "broken", rate=50), rogue("steady", "sound"), step=ask)


def test_one_lane_in_a_small_terminal(photograph):
    assert photograph(rogue("wide", "only"), step=ask, size=(60, 15))


def test_six_lanes(photograph):
    names = ("one", "two", "three", "four", "five", "six")
    assert photograph(*(rogue("wide", name) for name in names), step=ask, size=(150, 30))


def test_help(photograph):
    async def step(app, pilot):
        await pilot.press("f1")
        await until(pilot, lambda: type(app.screen).__name__ == "HelpScreen")

    assert photograph(rogue("steady", "only"), step=step, size=(100, 50))


def test_the_engine_picker(photograph, monkeypatch):
    async def unusable(self, python=None):
        return Probe(usable=False, reason="It needs a library.", remedy="Run: paragone env create exllamav3.")

    models = [ModelInfo(model=it, name=it, quantization="Q4_K_M", size=10**9) for it in ("steady", "wide")]
    demo = [ModelInfo(model="threads", name="demo-threads")]
    monkeypatch.setattr(RogueBackend, "find_models", lambda self, folders: models)
    monkeypatch.setattr(RogueBackend, "demo", lambda self, cache, *, create: asyncio.sleep(0, demo))
    State(state_file()).save_engine(rogue("seeing", "mine"))

    async def step(app, pilot):
        other = app.registry.get("exllamav3")
        monkeypatch.setattr(type(other), "probe", unusable)
        app.registry.all = lambda: {"rogue": app.registry.get("rogue"), other.name: other}
        await pilot.press("f3")
        await until(pilot, lambda: type(app.screen).__name__ == "EnginePicker")
        await until(pilot, lambda: not app.screen.is_looking and not app.screen._estimated)

    assert photograph(rogue("steady", "only"), step=step, size=(80, 24))


def test_a_blind_ballot_after_the_vote(photograph, monkeypatch):
    monkeypatch.setattr(random.SystemRandom, "shuffle", lambda self, runs: runs.reverse())

    async def step(app, pilot):
        await pilot.press("alt+u", "i")
        app.lanes.composer.insert("What is a paragone?")
        await pilot.press("enter")
        await until(
            pilot, lambda: "Which" in str(getattr(app.screen, "remark", None) and app.screen.remark.content)
        )
        await pilot.press("b")
        await until(pilot, lambda: app.screen.revealed)

    assert photograph(rogue("steady", "left"), rogue("wide", "right"), step=step, size=(120, 30))
