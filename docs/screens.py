"""Makes the screenshots in the README and in docs from the real program with real models. Run it with `make screens`."""

import asyncio
import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from textual.pilot import Pilot

from paragone_tui.app import ParagoneApp
from paragone_tui.screens.divergence import DivergenceSheet
from paragone_workbench.config import read as config
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import with_options
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import state_file

SCREENS = Path(__file__).parent / "screens"
OVER_LANES = {"start": "a", "settings": "o", "conditions": "c", "history": "/"}
"""The names of pictures of what the lanes show, with the keys in lane mode."""
WHY = "Explain in two sentences why the sky is blue."
CAPITAL = "What is the capital of Kenya?"
PROMPT = "Write a Python function that returns the mean of a list, and explain it in three short points."


async def main() -> None:
    """Send prompts to two lanes, and save pictures of the screens on the way."""
    state = State(state_file())
    app = ParagoneApp(
        config=config.load(state=state),
        state=state,
        registry=Registry(),
        definitions=None,
        mode="parallel",
        system="",
        demo=True,
    )
    SCREENS.mkdir(exist_ok=True)
    async with app.run_test(size=(120, 32)) as pilot:
        session = app.lanes.session
        while not session.lanes or not all(lane.engine.is_open for lane in session.lanes):
            await pilot.pause(0.1)
        app.lanes.composer.insert(PROMPT)
        await pilot.press("enter")
        while any(
            lane.last.meter is None or lane.last.meter.tokens < 160 for lane in session.lanes if lane.is_busy
        ):
            await pilot.pause(0.05)
        await pilot.pause(0.2)
        _save(app, "lanes")
        await pilot.press("ctrl+c")
        while session.is_busy:
            await pilot.pause(0.05)
        await pilot.press("f1")
        await pilot.pause(0.5)
        _save(app, "keys")
        await pilot.press("escape", "ctrl+n")
        await pilot.resize_terminal(120, 27)
        for lane in session.lanes:
            definition = with_options(
                lane.engine.definition, {"seed": 3, "max_tokens": 60}, lane.engine.backend
            )
            await session.configure(lane, definition)
        app.lanes.composer.insert(WHY)
        await pilot.press("enter")
        await pilot.pause(0.5)
        while session.is_busy:
            await pilot.pause(0.05)
        await pilot.press("alt+v")
        while not isinstance(app.screen, DivergenceSheet):
            await pilot.pause(0.05)
        await pilot.pause(0.5)
        _save(app, "divergence")
        await pilot.press("escape")
        await pilot.press("escape")  # to lane mode
        for name, key in OVER_LANES.items():
            await pilot.press(key)
            await pilot.pause(2)  # the picker and the history search first
            _save(app, name)
            await pilot.press("escape")
            await pilot.pause(0.5)
        await _tutorial(app, pilot)


async def _tutorial(app: ParagoneApp, pilot: Pilot[None]) -> None:
    """Save the pictures of docs/tutorial.md: where two greedy answers diverge, their conditions, and a fork."""
    session = app.lanes.session
    await pilot.press("i", "ctrl+n")
    for lane in session.lanes:
        await session.configure(lane, replace(lane.engine.definition, options={"temperature": 0.0}))
    app.lanes.composer.insert(CAPITAL)
    await pilot.press("enter")
    await pilot.pause(0.5)
    while session.is_busy:
        await pilot.pause(0.05)
    await pilot.press("escape", "v")
    while not isinstance(app.screen, DivergenceSheet):
        await pilot.pause(0.05)
    await pilot.pause(0.5)
    _save(app, "tutorial-divergence")
    await pilot.press("escape", "c")
    await pilot.pause(1)
    _save(app, "tutorial-fair")
    await pilot.press("q", "v")
    await pilot.pause(1)
    await pilot.press("enter")
    await pilot.pause(0.5)
    while session.is_busy:
        await pilot.pause(0.05)
    await pilot.pause(0.5)
    _save(app, "tutorial-fork")


def _save(app: ParagoneApp, name: str) -> None:
    path = SCREENS / f"{name}.svg"
    # Remove the references to fonts on the web, so that the picture loads nothing from there.
    svg = re.sub(r"@font-face \{.*?\}", "", app.export_screenshot(title="paragone demo"), flags=re.DOTALL)
    path.write_text(svg, encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        for name in ("CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{name}_HOME"] = home
        sys.exit(asyncio.run(main()))
