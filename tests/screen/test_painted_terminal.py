"""The whole program paints on the terminal what Textual would paint."""

from emulator import Emulator, Watched
from rogue_backend.definitions import rogue
from tests.screen import conftest

from paragone_tui.app import ParagoneApp


class WatchedProgram(ParagoneApp):
    """The program with a terminal that a test can look at."""

    is_headless = Watched.is_headless
    palette = Watched.palette
    _colors = "truecolor"
    _display = Watched._display
    as_textual_paints = Watched.as_textual_paints
    assert_painted_as_by_textual = Watched.assert_painted_as_by_textual

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.terminal = Emulator()


async def test_three_narrow_lanes_are_painted_as_a_whole(start, monkeypatch):
    monkeypatch.setattr(conftest, "ParagoneApp", WatchedProgram)
    lanes = [rogue("steady", name) for name in "abc"]
    async with start(*lanes, size=(60, 40)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.pilot.pause(0.5)
        screen.app.assert_painted_as_by_textual()
