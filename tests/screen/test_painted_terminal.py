"""The whole program paints on the terminal what Textual would paint."""

from emulator import OnEmulator
from rogue_backend.definitions import rogue
from tests.screen import conftest

from paragone_tui.app import ParagoneApp


class ProgramOnEmulator(OnEmulator, ParagoneApp):
    """The program, whose output goes to an emulator."""


async def test_three_narrow_lanes_are_painted_as_a_whole(start, monkeypatch):
    monkeypatch.setattr(conftest, "ParagoneApp", ProgramOnEmulator)
    lanes = [rogue("steady", name) for name in "abc"]
    async with start(*lanes, size=(60, 40)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.pilot.pause(0.5)
        screen.app.assert_painted_as_by_textual()
