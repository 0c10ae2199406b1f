"""Fixtures that run the whole screen under Textual's pilot, with rogue engines in real workers."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from parsed_styles import parse_styles_once as parse_styles_once
from pilot_pause import pause_until_at_rest as pause_until_at_rest
from textual import events
from textual.keys import _character_to_key
from textual.notifications import Notification
from textual.pilot import Pilot

from paragone import Backend, Probe
from paragone_tui.app import ParagoneApp
from paragone_tui.terminal.changed_rows_screen import Cadence
from paragone_tui.transcript import Transcript
from paragone_workbench import doctor
from paragone_workbench.config import read as config
from paragone_workbench.config.settings import Mode
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import state_file

PATIENCE = 120.0
"""Seconds after which a state counts as never reached. On a busy machine, measurements and imports take tens of seconds."""


class Screen:
    """The program, and what a person would see of it."""

    def __init__(self, app: ParagoneApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE:.0f} s: {what or condition}\n{self.text}")
            await self.pilot.pause()
            await asyncio.sleep(0.02)
        await self.painted()

    async def painted(self) -> None:
        """Wait until the frames that are due at present are painted."""
        for cadence in self.cadences:
            due = cadence._handle
            while due is not None and cadence._handle is due:
                await asyncio.sleep(0.01)
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()
        await self.painted()

    async def type(self, text: str) -> None:
        """Press the keys of a text faster than the screen is painted, as a burst from a terminal. For a single key: `press`."""
        for character in text:
            self.app.post_message(events.Key(_character_to_key(character), character))
        await self.pilot.pause()

    async def ask(self, text: str) -> None:
        """Send a prompt, once every engine is there."""
        if self.app.lanes.lanes.in_lane_mode:
            await self.press("i")
        await self.until(lambda: all(not lane.engine.is_opening for lane in self.lanes), "engines open")
        await self.type(text)
        await self.press("enter")

    async def settled(self) -> None:
        """Wait until all keys have taken effect."""
        await self.until(lambda: self.app.key_order.is_idle, "keys take effect")

    async def answered(self) -> None:
        """Wait until all answers have ended and are painted."""
        await self.until(lambda: not self.app.lanes.session.is_busy, "answers end")
        await self.until(lambda: not any(it.waiting for it in self.cadences), "they are painted")

    @property
    def cadences(self) -> list[Cadence]:
        transcripts = [it._cadence for it in self.app.screen.query(Transcript)]
        return [self.app.lanes.painter, *transcripts] if isinstance(self.app, ParagoneApp) else transcripts

    @property
    def lanes(self):
        return self.app.lanes.session.lanes

    @property
    def columns(self):
        return self.app.lanes.lanes.columns

    @property
    def text(self) -> str:
        """What stands on the screen, row by row."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in lines)

    @property
    def told(self) -> str:
        """What notifications say."""
        return "\n".join(note.message for note in self.app._notifications)


@pytest.fixture(autouse=True)
def lasting_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let notices stay until the program removes them. On a busy machine, a test may look long after their time."""
    monkeypatch.setattr(Notification, "time_left", 1e6)


@pytest.fixture(scope="package", autouse=True)
def probe_once() -> Iterator[None]:
    """Probe each backend once for each interpreter and PATH. Each picker would start four processes again to do so.

    A probe that a test has put in its place is asked each time.
    """
    found: dict[tuple[str, str | None, str], Probe] = {}
    probe = doctor.probe

    async def once(backend: Backend, python: str | None = None) -> Probe:
        if not type(backend).probe.__module__.startswith("paragone"):
            return await probe(backend, python)
        key = (backend.name, python, os.environ["PATH"])
        if key not in found:
            found[key] = await probe(backend, python)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paragone_workbench.catalog.probe", once)
        yield


@pytest.fixture
def start():
    """Start the program: `async with start(rogue("steady"), size=(100, 30)) as screen`."""

    @contextlib.asynccontextmanager
    async def begin(
        *definitions: EngineDefinition,
        size: tuple[int, int] = (100, 30),
        settings: str | None = None,
        remembered: bool = False,
        mode: Mode = "parallel",
        system: str = "",
        with_history: bool = True,
        demo: bool = False,
        given: Sequence[str] = (),
        toasts: bool = False,
    ) -> AsyncIterator[Screen]:
        state = State(state_file())
        path = None
        if settings is not None:
            path = Path(state_file()).parent / "config.toml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(settings, encoding="utf-8")
        app = ParagoneApp(
            config=config.load(path, state=state),
            state=state,
            registry=Registry(),
            definitions=None if remembered else definitions,
            mode=mode,
            system=system,
            demo=demo,
            given=given,
        )
        async with app.run_test(size=size, notifications=toasts) as pilot:
            screen = Screen(app, pilot)
            if with_history:
                await screen.until(lambda: app.history is not None, "the store opens")
            yield screen

    return begin
