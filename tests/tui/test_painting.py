"""The screen writes only changed cells, at one time for all lanes; the result is compared with Textual's own compositor."""

import asyncio
import re
from itertools import pairwise

import pytest
from emulator import Watched, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual._compositor import Compositor
from textual.containers import Horizontal, Vertical
from textual.geometry import Region
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Label

from paragone_tui.screens.lanes.status import LaneStatus, LaneStatusInfo
from paragone_tui.terminal.changed_rows_screen import Cadence, ChangedRowsScreen
from paragone_tui.transcript import Transcript


class Canvas(Widget):
    """Shows the given rows of segments."""

    DEFAULT_CSS = "Canvas { width: 1fr; height: 1fr; background: #102030; color: #c0c0c0; }"

    def __init__(self):
        super().__init__()
        self.rows = {}

    def put(self, y, *segments):
        self.rows[y] = Strip(segments)
        self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y):
        return self.rows.get(y, Strip([])).adjust_cell_length(self.size.width, self.rich_style)


def plain(text):
    return Segment(text, Style(color="#c0c0c0", bgcolor="#102030"))


def written(app):
    """Return what was written since the last call."""
    data = "".join(app.terminal.written)
    app.terminal.written.clear()
    return data


async def put(pilot, canvas, y, *segments):
    """Show a row, and return what was written for it."""
    canvas.put(y, *segments)
    await pilot.pause(0)
    pilot.app.assert_painted_as_by_textual()
    return written(pilot.app)


@pytest.fixture
async def canvas():
    widget = Canvas()
    async with Watched(widget).run_test(size=(40, 6)) as pilot:
        await pilot.pause(0)
        written(pilot.app)
        yield pilot, widget


async def test_only_changed_cells_are_written(canvas):
    style = "\x1b[38;2;192;192;192;48;2;16;32;48m"
    assert await put(*canvas, 0, plain("a sentence")) == f"\x1b[1H{style}a sentence\x1b[m"
    assert await put(*canvas, 0, plain("a sentence that")) == f"\x1b[1;12H{style}that\x1b[m"
    assert await put(*canvas, 0, plain("a sentence that")) == ""
    assert await put(*canvas, 0, plain("a sentence than")) == f"\x1b[1;15H{style}n\x1b[m"


async def test_distant_changes_in_a_row_are_written_separately(canvas):
    pilot, widget = canvas
    await put(pilot, widget, 2, plain("x" * 30))
    data = await put(pilot, widget, 2, plain("y" + "x" * 28 + "y"))
    assert data.count("y") == 2
    assert "x" not in data
    assert "\x1b[28C" in data
    # Unchanged cells are written again if that is shorter than moving the cursor.
    assert "xxx" in await put(pilot, widget, 2, plain("zxxxz" + "x" * 25))


async def test_attributes_are_turned_on_and_off(canvas):
    for style in (
        "underline",
        "reverse",
        "strike",
        "bold italic",
        "on red",
        "overline",
        "dim",
        "underline2",
        "blink",
    ):
        marked = Segment(" both sides ", Style.parse(style))
        await put(*canvas, 1, plain("before"), marked, plain("after"), Segment(" "), marked)
        await put(*canvas, 1, plain("before but twelve "), plain("after"), marked)


async def test_spaces_have_no_foreground_colour(canvas):
    await put(*canvas, 0, plain("      "))
    assert await put(*canvas, 0, Segment("      ", Style(color="red", bgcolor="#102030", bold=True))) == ""
    assert await put(*canvas, 0, Segment("      ", Style(color="red", bgcolor="#102030", underline=True)))


async def test_wide_characters_are_written_whole(canvas):
    texts = (
        "漢字",
        "ab字",
        "a漢字",
        "漢字漢字",
        "漢a漢a",
        "漢 字",
        "漢字 ",
        "👍👍",
        "a👍b",
        "e\u0301a",
        "ea",
        "가나",
        "나가",
    )
    for text in (*texts, "x" * 38 + "漢", "x" * 40, *reversed(texts), ""):
        await put(*canvas, 3, plain(text))


async def test_cells_after_characters_of_ambiguous_width_are_rewritten():
    """The emulator draws these as wide as all their parts; other terminals draw them in one or two cells."""
    canvas, other = Canvas(), Canvas()
    app = Watched(Horizontal(canvas, other))
    async with app.run_test(size=(60, 3)) as pilot:
        other.put(0, plain("the other lane"))
        for text in ("👨\u200d👩\u200d👧", "🇩🇪", "☁️", "👍🏽", "1️⃣", "क्षि"):
            canvas.put(0, plain("z" * 20))
            await pilot.pause(0)
            for row in (f"ab{text}cd", f"{text} here", f"{text}{text}{text} and on", "nothing more"):
                canvas.put(0, plain(row))
                await pilot.pause(0)
                shown = app.terminal.text.splitlines()[0]
                # The text after the character is in the right columns, however wide the character is drawn.
                assert app.terminal.rows[0][30 + 4].text == "o"
                assert "other lane" in shown
                tail = row.rpartition(text)[2]
                column = Strip([plain(row)]).cell_length - len(tail)
                cells = "".join(cell.text for cell in app.terminal.rows[0][column : column + len(tail)])
                assert cells == tail
                assert "z" not in shown  # no old text is left beside a character that is drawn narrower
        for text in (
            "\u200dab",
            "\u200d漢x",
            "\u200d",
            "\ufe0fa",
            "a\u200d",
            "\u200d\u200d👩x",
        ):  # stray joiners
            for pieces in (("漢字", text, "!"), (text, "?")):
                canvas.put(0, *map(plain, pieces))
                await pilot.pause(0)
                assert "".join(cell.text for cell in app.terminal.rows[0][30:44]) == "the other lane"


@pytest.mark.parametrize(
    ("colors", "theme"), [("256", "textual-light"), ("standard", "ansi-dark"), (None, "ansi-dark")]
)
async def test_colours_are_reduced_for_terminals_with_few_colours(colors, theme):
    lane, status = Transcript(), LaneStatus()
    app = Watched(Vertical(status, lane), colors=colors)
    async with app.run_test(size=(60, 15)) as pilot:
        app.theme = theme
        status.show(LaneStatusInfo(engine="smol", state="writing", tokens_per_s=50.0, tokens=7))
        lane.add("prompt", "A question")
        lane.write("An *answer* with `code`\n\n```python\ndef f(): pass\n```\n")
        await settle(pilot)
        app.assert_painted_as_by_textual()
        lane.end()
        lane.add("error", "Killed.", hint="Press r.", log=["line"])
        await settle(pilot)
        app.assert_painted_as_by_textual()
        if colors == "standard":
            assert not re.search("[34]8;[25];", written(app))


async def test_no_color_turns_colours_off(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    lane = Transcript()
    app = Watched(lane)
    async with app.run_test(size=(60, 15)) as pilot:
        lane.add("prompt", "A question")
        lane.add("answer", "An *answer*")
        lane.add("caution", "Beware.")
        lane.add("error", "Killed.", hint="Press r.", log=["line"])
        await settle(pilot)
        app.assert_painted_as_by_textual()
        shades = re.findall(r"[34]8;2;(\d+);(\d+);(\d+)", written(app))
        assert all(red == green == blue for red, green, blue in shades)
        # Without colours, each kind of block has its own symbol.
        assert [line[0] for line in app.terminal.text.splitlines() if line.strip()] == list("▎ !✗→│")


class Question(ChangedRowsScreen[None], ModalScreen[None]):
    """A modal screen that covers a part of the screen."""

    DEFAULT_CSS = (
        "Question { align: center middle; } Question Label { width: 20; height: 3; background: red; }"
    )

    def compose(self):
        yield Label("Really?")


async def test_modal_screens_are_painted_over_the_lanes():
    lane = Transcript()
    app = Watched(lane)
    async with app.run_test(size=(60, 15)) as pilot:
        lane.add("prompt", "under it")
        await settle(pilot)
        for _ in range(2):
            app.push_screen(Question())
            await pilot.pause(0)
            app.assert_painted_as_by_textual()
            assert "Really?" in app.terminal.text
            lane.write("while it is there ")
            while lane._cadence.waiting:
                await pilot.pause(0.01)
            await settle(pilot)
            app.assert_painted_as_by_textual()
            app.pop_screen()
            await settle(pilot)
            app.assert_painted_as_by_textual()
            assert "Really?" not in app.terminal.text
        app.push_screen(Screen())  # one that uses Textual's own compositor
        await pilot.pause(0)
        app.pop_screen()
        await settle(pilot)
        app.assert_painted_as_by_textual()


async def test_a_change_is_laid_out_and_painted_once(monkeypatch):
    calls = []

    def record(name):
        method = getattr(Compositor, name)

        def recorded(*args, **options):
            calls.append(name)
            return method(*args, **options)

        monkeypatch.setattr(Compositor, name, recorded)

    label = Label("short")
    app = Watched(label)
    async with app.run_test(size=(60, 15)) as pilot:
        record("reflow")
        record("_render_chops")
        label.update("longer")
        app.screen.refresh(layout=True)
        await pilot.pause(0)
        assert calls == ["reflow", "_render_chops"]
        app.assert_painted_as_by_textual()
        calls.clear()
        await pilot.resize_terminal(30, 10)
        assert ("reflow", "reflow") not in pairwise(calls), calls
        app.assert_painted_as_by_textual()


words = st.sampled_from(
    ["word ", "\n", "\n\n", "**bold** ", "`code` ", "今天天气很好", "👍 ", "e\u0301 ", "# ", "- ", "x" * 70]
)
lane_numbers = st.integers(0, 1)
steps = st.one_of(
    st.tuples(
        st.just("write"), lane_numbers, st.sampled_from(["answer", "thinking"]), st.lists(words, max_size=30)
    ),
    st.tuples(st.sampled_from(["end", "error", "rewind"]), lane_numbers),
    st.tuples(st.just("prompt"), lane_numbers, st.lists(words, min_size=1, max_size=8)),
    st.tuples(st.just("fold"), lane_numbers, st.booleans()),
    st.tuples(st.just("scroll"), lane_numbers, st.integers(-40, 40)),
    st.tuples(st.just("resize"), st.integers(60, 130), st.integers(15, 40)),
    st.tuples(st.just("theme"), st.sampled_from(["textual-light", "ansi-dark", "textual-dark"])),
    st.tuples(st.just("status"), lane_numbers, st.sampled_from(["writing", "crashed"]), st.integers(0, 999)),
    st.tuples(st.just("type"), st.text("abc ", min_size=1, max_size=5)),
)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(steps, st.booleans()), max_size=12))
async def test_random_changes_look_as_if_textual_had_painted_them(steps):
    lanes = [Transcript(), Transcript()]
    statuses = [LaneStatus(), LaneStatus()]
    composer = Input()
    columns = [Vertical(status, lane) for status, lane in zip(statuses, lanes, strict=True)]
    app = Watched(Horizontal(*columns), composer)
    async with app.run_test(size=(80, 24)) as pilot:
        composer.cursor_blink = False
        composer.focus()
        for step, beat in steps:
            match step:
                case ("write", lane, channel, pieces):
                    for piece in pieces:
                        lanes[lane].write(piece, channel)
                case ("end", lane):
                    lanes[lane].end()
                case ("prompt", lane, pieces):
                    lanes[lane].add("prompt", "".join(pieces))
                case ("error", lane):
                    lanes[lane].add("error", "Killed.", log=["one", "two"], hint="Press r.")
                case ("rewind", lane):
                    lanes[lane].rewind()
                case ("fold", lane, fold):
                    lanes[lane].fold(thinking=fold, logs=True)
                case ("scroll", lane, rows):
                    lanes[lane].scroll_rows(rows)
                case ("resize", width, height):
                    await pilot.resize_terminal(width, height)
                case ("theme", theme):
                    app.theme = theme
                case ("status", lane, state, number):
                    statuses[lane].show(LaneStatusInfo(engine="smol", state=state, tokens=number))
                case ("type", text):
                    composer.value += text
            if beat:
                await settle(pilot)
                app.assert_painted_as_by_textual()
        await settle(pilot)
        app.assert_painted_as_by_textual()


async def test_many_requests_are_combined_into_one_call_per_beat():
    calls: list[str] = []
    came = asyncio.Event()

    def call() -> None:
        calls.append("call")
        came.set()

    one, other = Cadence(call, 60), Cadence(call, 60)
    for cadence in (one, other):
        for _ in range(100):
            cadence.ask()
        assert cadence.waiting
        await asyncio.wait_for(came.wait(), 60)  # the first call is immediate
        came.clear()
        assert not cadence.waiting
    assert len(calls) == 2
    one.ask()
    other.ask()
    assert isinstance(one._handle, asyncio.TimerHandle)
    assert isinstance(other._handle, asyncio.TimerHandle)
    assert one._handle.when() == other._handle.when()
    assert one._handle.when() % 60 == 0
    one.stop()
    other.stop()
    assert not one.waiting
    assert len(calls) == 2
