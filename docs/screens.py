"""Makes the pictures in the README: the program itself, with real models, photographed by itself.

make screens
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path

from paragone_tui.app import ParagoneApp
from paragone_workbench.config import read as config
from paragone_workbench.config.state import State
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import state_file

SCREENS = Path(__file__).parent / "screens"
PROMPT = "Explain in three short points why the sky is blue, then give one example in a table."


async def main() -> None:
    """Answer a prompt in two lanes and take the screen's picture, then the help's."""
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


def _save(app: ParagoneApp, name: str) -> None:
    path = SCREENS / f"{name}.svg"
    # The picture names fonts on the web; it shall be seen without it.
    svg = re.sub(r"@font-face \{.*?\}", "", app.export_screenshot(title="paragone demo"), flags=re.DOTALL)
    path.write_text(svg, encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        for name in ("CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{name}_HOME"] = home
        sys.exit(asyncio.run(main()))
