"""Lane mode, and the keys, help and palette that work on every screen."""

from collections import Counter

from rich.table import Table
from rogue_backend.definitions import rogue
from textual._compositor import Compositor
from textual.css.stylesheet import Stylesheet
from textual.widgets import OptionList

from paragone_tui.commands import COMMANDS
from paragone_tui.keys import active_keys
from paragone_tui.screens.lanes.column import LaneColumn
from paragone_tui.widgets.palette import entries

OPENED_BY = {
    "EnginePicker": "f3",
    "HistoryScreen": "ctrl+o",
    "HelpScreen": "f1",
    "SettingsForm": "alt+o",
}


def shown(screen) -> str:
    return type(screen.app.screen).__name__


async def test_letters_are_text_while_writing_and_commands_in_lane_mode(start):
    async with start(rogue("steady", "a"), rogue("steady", "b")) as screen:
        lanes = screen.app.lanes
        await screen.type("lz")
        assert (lanes.composer.text, lanes.lanes.position, lanes.lanes.zoomed) == ("lz", 0, False)
        await screen.press("escape")
        assert "LANE" in screen.text.splitlines()[-1]
        await screen.press("l", "z")
        assert (lanes.composer.text, lanes.lanes.position, lanes.lanes.zoomed) == ("lz", 1, True)
        await screen.press("i", "h", "i")
        assert lanes.composer.text == "lzhi"
        assert "LANE" not in screen.text
        await screen.press("ctrl+u", "escape", "z", "h", "i")
        lanes = screen.app.lanes.lanes  # escape twice is lane mode too, which stops at the last lane
        await screen.press("escape", "escape", "z")
        assert (lanes.in_lane_mode, lanes.zoomed) == (True, True)
        await screen.press("alt+z")
        assert (lanes.in_lane_mode, lanes.zoomed) == (True, False)
        assert screen.app.lanes.composer.text == ""
        for there, back in (("escape", "i"), ("ctrl+f", "enter"), ("ctrl+f", "ctrl+f")):
            await screen.press("i", there)
            assert lanes.in_lane_mode, there
            await screen.press(back)
            assert screen.app.screen.focused is screen.app.lanes.composer, back
        await screen.press("escape", "l", "l", "right")
        assert lanes.position == 1
        await screen.press("h", "h", "left")
        assert lanes.position == 0
        await screen.press("i", "tab", "tab")
        assert lanes.position == 0, "while one writes, tab goes around"
        await screen.press("escape", "slash")
        await screen.press("escape")
        await screen.until(lambda: shown(screen) == "LanesScreen")
        assert screen.app.lanes.lanes.in_lane_mode
        await screen.press("o")
        await screen.press("ctrl+k", *"7", "enter")
        await screen.until(lambda: shown(screen) == "LanesScreen")
        await screen.until(lambda: screen.lanes[0].engine.definition.options["max_tokens"] == 7)
        assert screen.app.lanes.lanes.in_lane_mode
        await screen.press("u")
        assert screen.app.lanes.is_blind
        assert screen.app.lanes.lanes.in_lane_mode


async def test_a_screen_that_opens_computes_each_style_and_each_table_once(start, monkeypatch):
    """And what moves the focus there does not paint the whole screen."""
    styled: Counter[object] = Counter()
    laid_out: Counter[int] = Counter()
    painted = []
    apply, render, paint = Stylesheet.apply, Table.__rich_console__, Compositor.render_full_update

    def counted_apply(self, node, **options):
        styled[node] += 1
        apply(self, node, **options)

    def counted_render(self, console, options):
        laid_out[options.max_width] += 1
        return render(self, console, options)

    def noted_paint(self, *args, **options):
        painted.append(self)
        return paint(self, *args, **options)

    async with start(rogue("steady")) as screen:
        await screen.until(lambda: screen.lanes[0].state == "ready", "nothing else is painted")
        monkeypatch.setattr(Stylesheet, "apply", counted_apply)
        monkeypatch.setattr(Table, "__rich_console__", counted_render)
        await screen.press("alt+o")
        assert shown(screen) == "SettingsForm"
        assert styled.total() < 1.1 * len(styled), "the focus changes a few of them"
        before = screen.app.screen.focused
        monkeypatch.setattr(Compositor, "render_full_update", noted_paint)
        await screen.press("down")
        assert screen.app.screen.focused is not before
        assert not painted
        await screen.press("escape")
        assert painted, "the screen below"
        styled.clear()
        await screen.press("f1")
        assert shown(screen) == "HelpScreen"
        assert styled
        assert screen.app.lanes.composer not in styled, "the screen below keeps its styles"
        assert set(laid_out.values()) == {1}, "one width with the scroll bar, and one without"


async def test_keys_of_lane_mode_scroll(start):
    async with start(rogue("steady", max_tokens=2000, rate=100000), size=(60, 17)) as screen:
        await screen.ask("go")
        await screen.answered()
        transcript = screen.columns[0].transcript
        await screen.press("escape", "g")
        assert transcript._top == 0
        half = round((transcript.size.height - 2) / 2)
        moves = {
            "j": 1,
            "k": -1,
            "down": 1,
            "ctrl+d": half,
            "ctrl+u": -half,
            "space": transcript.size.height - 2,
        }
        for key, rows in moves.items():
            top = transcript._top
            await screen.press(key)
            assert transcript._top - top == rows, key
        await screen.press("G")
        assert transcript.following


async def test_neither_escape_nor_copying_stops_an_answer_but_a_new_conversation_does(start):
    async with start(rogue("steady", rate=20, max_tokens=2000)) as screen:
        await screen.ask("go")
        await screen.until(lambda: screen.lanes[0].state == "writing")
        await screen.type("copy")
        screen.app.lanes.composer.select_all()
        await screen.press("ctrl+c")
        assert screen.app.clipboard == "copy"
        assert screen.lanes[0].state == "writing"
        await screen.press("ctrl+o", "escape", "escape", "escape")
        assert screen.lanes[0].state == "writing"
        await screen.press("escape", "s")
        await screen.until(lambda: screen.lanes[0].state == "stopped")
        await screen.press("i", "ctrl+u", "ctrl+n")
        await screen.ask("go")
        await screen.until(lambda: screen.lanes[0].state == "writing")
        await screen.press("ctrl+n")
        await screen.until(lambda: screen.app.lanes.session.prompts == [])
        assert "The answers were stopped" in screen.told
        await screen.press("ctrl+o")
        await screen.until(lambda: "1 prompt · steady" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: "Stopped." in screen.text)
        assert "word0" in screen.text


async def test_earlier_prompts_are_found_and_text_in_the_palette_becomes_a_prompt(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        composer = screen.app.lanes.composer
        for text in ("first words", "second"):
            await screen.ask(text)
            await screen.answered()
            await screen.press("ctrl+n")
        await screen.press("up", "up")
        assert composer.text == "first words"
        screen.app.lanes.earlier_prompts.clear()  # as after a start
        await screen.press("down", "down", "up")
        await screen.until(lambda: composer.text == "second")
        composer.put("a draft")
        await screen.press("ctrl+r")
        await screen.until(lambda: "second" in screen.text)
        await screen.type("words")
        await screen.press("enter")
        await screen.until(lambda: composer.text == "first words")
        await screen.press("ctrl+underscore", "slash")
        assert composer.text == "a draft/"
        await screen.press("ctrl+u", "slash")
        await screen.type("/hosts")
        await screen.press("enter")
        assert (shown(screen), composer.text) == ("LanesScreen", "//hosts")
        await screen.press("ctrl+u", "slash")
        await screen.type("temp")
        await screen.press("escape")
        assert (shown(screen), composer.text) == ("LanesScreen", ""), (
            "what looks for a command is not the prompt"
        )
        await screen.press("slash")
        await screen.type("etc/passwd")
        await screen.press("escape")
        assert (shown(screen), composer.text) == ("LanesScreen", "/etc/passwd"), "nothing written is lost"
        await screen.press("ctrl+u", "slash")
        await screen.type("zoom")
        await screen.press("enter")
        await screen.until(lambda: screen.app.lanes.lanes.zoomed)
        assert composer.text == ""
        await screen.ask("first")
        await screen.answered()
        await screen.press("escape", "ctrl+up")
        assert screen.app.lanes.composer.text == "first"
        assert not screen.app.lanes.lanes.in_lane_mode


async def test_help_palette_and_quit_work_on_every_screen(start):
    async with start(rogue("steady")) as screen:
        for name in OPENED_BY:
            await help_and_palette_work(screen, name)
        await screen.press(OPENED_BY["SettingsForm"], "ctrl+q")
        await screen.until(lambda: not screen.app.is_running)


async def help_and_palette_work(screen, name):
    await screen.press(OPENED_BY[name])
    await screen.until(lambda: shown(screen) == name)
    dialog = screen.app.screen
    if name != "HelpScreen":
        await screen.press("f1")
        await screen.until(lambda: shown(screen) == "HelpScreen")
        dialog.dismiss()  # as a click or Enter does that is handled only now
        await screen.pilot.pause()
        assert shown(screen) == "HelpScreen"
        await screen.press("f1")
        await screen.until(lambda: screen.app.screen is dialog)
    if name in ("EnginePicker", "HistoryScreen"):
        await screen.press("ctrl+c")
        await screen.until(lambda: shown(screen) == "LanesScreen")
        return
    await screen.press("ctrl+p")
    await screen.until(lambda: shown(screen) == "Palette")
    titles = {entry.title for entry in entries(screen.app, screen.app.screen_stack[-2], screen.app.keys)}
    closes = "Cancel" if name == "SettingsForm" else "Close"
    assert {closes, "Help", "Quit", "Theme"} <= titles
    assert "Zoom" not in titles
    await screen.type(closes.casefold())
    await screen.until(lambda: screen.app.screen.query_one(OptionList).option_count == 1)
    await screen.press("enter")
    await screen.until(lambda: shown(screen) == "LanesScreen", "the palette's command closes the dialog")


async def test_keys_can_be_set_and_the_palette_shows_them_and_finds_words_of_the_help(start):
    settings = '[keys]\nzoom = "v"\nscroll-down = "ctrl+r"\nquit = "f12"\n'
    async with start(rogue("steady", "a"), rogue("steady", "b"), settings=settings) as screen:
        await screen.press("escape", "z")
        assert not screen.app.lanes.lanes.zoomed
        await screen.press("v")
        assert screen.app.lanes.lanes.zoomed
        await screen.press("f2")
        assert not screen.app.lanes.lanes.zoomed, "keys of the other kind stay"
        found = {entry.title: entry.keys for entry in entries(screen.app, screen.app.lanes, screen.app.keys)}
        assert found["Zoom"] == "f2 v"
        await screen.press("ctrl+p")
        await screen.type("zoom")
        await screen.until(lambda: screen.app.screen.query_one(OptionList).option_count == 1)
        assert "f2 v" in screen.text
        await screen.press("ctrl+u")
        await screen.type("memory")
        await screen.until(lambda: "Close lane" in screen.text)
        assert screen.app.screen.query_one(OptionList).option_count == 1
        await screen.press("escape")
        await screen.press("ctrl+q")
        assert screen.app.is_running
        await screen.press("f12")
        await screen.until(lambda: not screen.app.is_running)


def test_every_command_has_a_key_that_plain_terminals_pass_on():
    missing = (
        "f",
        "ctrl+up",
        "ctrl+down",
        "ctrl+home",
        "ctrl+end",
        "ctrl+shift",
        "shift+",
        "alt+left",
        "alt+right",
    )
    for command, keys in active_keys({}).items():
        sure = [key for key in keys.all if len(key) == 1 or not key.startswith(missing)]
        assert [key for key in sure if key not in ("escape", "ctrl+b")], command
    assert "ctrl+b" not in " ".join(f"{command.keys},{command.lane_keys}" for command in COMMANDS)


async def test_help_palette_and_lane_mode_work_without_lanes(start):
    async with start(rogue("steady"), size=(80, 24)) as screen:
        await screen.press("f1")
        await screen.until(lambda: shown(screen) == "HelpScreen" and screen.app.screen.scroll.max_scroll_y)
        scroll = screen.app.screen.scroll
        for key, row in (("j", 1), ("d", 11), ("u", 1), ("k", 0), ("G", scroll.max_scroll_y), ("g", 0)):
            await screen.press(key)
            await screen.until(lambda row=row: scroll.scroll_offset.y == row, key)
        await screen.press("slash", *"heat q", "backspace", "backspace")
        await screen.until(lambda: "toggle-heat" in screen.text and "Send the prompt" not in screen.text)
        await screen.press("enter", "q")
        assert shown(screen) == "LanesScreen"
        await screen.press("question_mark")
        assert shown(screen) == "HelpScreen"
        await screen.press("question_mark")
        assert shown(screen) == "LanesScreen"
        await screen.pilot.click(LaneColumn)
        await screen.type("hello")
        assert screen.app.lanes.composer.text == "hello", "a click on a lane does not begin lane mode"
        await screen.press("question_mark")
        assert screen.app.lanes.composer.text == "hello?"
        await screen.press("ctrl+u")
        await screen.press("f1", "ctrl+p", "f1", "ctrl+p", "f1", "ctrl+p")
        assert [type(it).__name__ for it in screen.app.screen_stack] == [
            "LanesScreen",
            "HelpScreen",
            "Palette",
        ]
        await screen.press("escape", "escape")
        assert shown(screen) == "LanesScreen"
        await screen.press("ctrl+p")
        await screen.type("theme")
        await screen.press("enter")
        await screen.until(lambda: "nord" in screen.text)
        await screen.type("nord")
        await screen.press("enter")
        await screen.until(lambda: screen.app.theme == "nord")
        await screen.press("escape", "X", "y")
        await screen.until(lambda: "a lists the engines, models and the demo" in screen.text)
        await screen.press("a")
        await screen.type("rogue:wide")
        await screen.press("enter")
        await screen.until(lambda: len(screen.columns) == 1)
        assert screen.app.lanes.lanes.in_lane_mode
