"""Quitting while something else is about to happen."""

import asyncio

import pytest
from rogue_backend.definitions import rogue

DIALOGS = [
    "app.palette",
    "app.help",
    "screen.command('attach-file')",
    "screen.command('about-lane')",
    "screen.command('settings')",
]


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("action", DIALOGS)
async def test_quitting_while_a_dialog_opens(start, action, steps):
    async with start(rogue("steady")) as screen:
        await screen.until(lambda: screen.lanes[0].engine.is_open)
        await screen.app.run_action(action)
        for _ in range(steps):
            await asyncio.sleep(0)
        screen.app.exit()
    assert screen.app.return_code == 0
