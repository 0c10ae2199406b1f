"""The whole program paints on the terminal what Textual would paint."""

from emulator import OnEmulator, settle
from rogue_backend.definitions import rogue
from tests.screen import conftest
from textual._compositor import Compositor

from paragone_tui.app import ParagoneApp


class ProgramOnEmulator(OnEmulator, ParagoneApp):
    """The program, whose output goes to an emulator."""


async def test_three_narrow_lanes_are_painted_as_a_whole(start, monkeypatch):
    monkeypatch.setattr(conftest, "ParagoneApp", ProgramOnEmulator)
    lanes = [rogue("steady", name) for name in "abc"]
    async with start(*lanes, size=(60, 40)) as screen:
        await screen.ask("go")
        await screen.answered()
        await settle(screen.pilot)
        screen.app.assert_painted_as_by_textual()


async def test_the_program_is_laid_out_once_when_it_starts(start, monkeypatch):
    sizes = []
    reflow = Compositor.reflow

    def recorded(self, parent, size):
        sizes.append(size)
        return reflow(self, parent, size)

    monkeypatch.setattr(Compositor, "reflow", recorded)
    monkeypatch.setattr(conftest, "ParagoneApp", ProgramOnEmulator)
    async with start(rogue("steady"), rogue("steady", "b"), size=(100, 30)) as screen:
        await screen.pilot.pause()
        assert sizes == [(100, 30)]
        screen.app.assert_painted_as_by_textual()
