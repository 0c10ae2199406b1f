"""Adding, closing and moving lanes, and changing their engines."""

import re

from rogue_backend.definitions import rogue
from tests.workbench.report_subjects import add_experiment

from paragone_tui.commands import COMMANDS
from paragone_tui.widgets.palette import entries
from paragone_workbench.config.state import State
from paragone_workbench.paths import copied_file, state_file


async def test_the_picker_lists_engines_and_new_lanes_get_the_options_of_the_command_line(start):
    settings = """
[engines.mine]
backend = "rogue"
model = "steady"

[engines.elsewhere]
backend = "rogue"
model = "steady"
python = "/nowhere/python"

[engines.unknown]
backend = "nothing_such"
model = "x"
"""
    given = ["max_tokens=3", "nothing=1"]
    async with start(rogue("steady", "first"), settings=settings, size=(140, 40), given=given) as screen:
        await screen.press("f3")
        await screen.until(lambda: "elsewhere  The interpreter /nowhere/python cannot" in screen.text)
        assert "There is no backend 'nothing_such'" in screen.text
        await screen.type("ollama:m@box:11434")
        await screen.until(lambda: "Write ollama:m@http://box:11434" in screen.text)
        await screen.press("ctrl+u")
        await screen.type("mine")
        await screen.press("enter")
        await screen.until(lambda: len(screen.columns) == 2)
        assert screen.lanes[1].engine.definition.name == "mine"
        await pick(screen, "f3", "rogue:wide")
        await screen.until(lambda: len(screen.columns) == 3)
        assert screen.lanes[2].engine.definition.options == {"max_tokens": 3}
        assert "wide: it does not support nothing=1." in screen.told
        await screen.until(lambda: "wide" in screen.app.engines.config.engines)
        assert not screen.app.engines.config.engines["wide"].options, "it is saved as it was written"


async def test_an_engine_is_changed_in_a_conversation_and_the_raw_answer_copied(start):
    async with start(rogue("steady", max_tokens=3)) as screen:
        await screen.ask("first")
        await screen.answered()
        await screen.press("f4")
        await screen.until(lambda: type(screen.app.screen).__name__ == "EnginePicker")
        await screen.type("rogue:wide")
        await screen.press("enter")
        await screen.until(lambda: screen.lanes[0].engine.definition.model == "wide")
        await screen.ask("second")
        await screen.answered()
        text = screen.columns[0].transcript.text
        assert "word2" in text
        assert text.count("From here on: wide (rogue).") == 1
        assert "語2" in text
        assert text.count("by steady (rogue)") == 1, "the earlier answer says who wrote it"
        screen.columns[0]._shown_as = None  # as when the conversation is reopened
        screen.columns[0].show_state()
        text = screen.columns[0].transcript.text
        assert (text.count("From here on: wide"), text.count("by steady (rogue)")) == (1, 1)
        answer = screen.lanes[0].path[-1]
        await screen.press("alt+y")
        assert screen.app.clipboard == answer.text == "語0😀 語1😀 語2😀 "
        answer.add("answer", "\n```sh\nls -l\n```\n")
        await screen.press("alt+Y", "enter")
        assert screen.app.clipboard == "ls -l", "a block of code is the first that is offered"
        await screen.press("alt+Y")
        await screen.type("conv")
        await screen.press("ctrl+s")
        assert copied_file().read_text().startswith("> first\n\nword0 word1")
        assert f"are written to {copied_file()}" in screen.told
        answer.add("answer", "x" * 100_000)
        await screen.press("alt+y")
        assert copied_file().read_text().endswith("x"), "what is too long for terminals goes to the file"


async def pick(screen, key, engine):
    await screen.press(key)
    await screen.until(lambda: type(screen.app.screen).__name__ == "EnginePicker")
    await screen.type(engine)
    await screen.press("enter")
    await screen.until(lambda: screen.app.screen is screen.app.lanes)


async def test_a_lane_keeps_its_name_and_settings_when_its_engine_changes(start):
    config = """
        [engines.plain]
        backend = "rogue"
        model = "steady"
        load_s = 0.01
    """
    first = rogue("steady", "plain", load_s=0.01, max_tokens=3, rate=500, context=512)
    async with start(first, rogue("wide", "two"), settings=config, size=(120, 30)) as screen:
        await pick(screen, "f4", "rogue:wide")
        await screen.until(lambda: screen.lanes[0].engine.definition.model == "wide")
        kept = screen.lanes[0].engine.definition.options
        assert kept == {"max_tokens": 3, "rate": 500, "context": 512}
        await pick(screen, "f4", "ollama:m@http://127.0.0.1:9")
        await screen.until(lambda: screen.lanes[0].engine.definition.backend == "ollama")
        assert screen.lanes[0].engine.definition.options == {"max_tokens": 3, "num_ctx": 512}
        assert "m: context is num_ctx here; it does not support rate=500." in screen.told
        await pick(screen, "f4", "rogue:two")
        await screen.until(lambda: screen.lanes[0].name == "two-2")
        left, right = screen.text.splitlines()[0].split("▏")
        assert "▸ ◆ two-2" in left
        assert right.split()[0] == "two"


async def test_zoom_shows_only_the_current_lane_and_closing_it_frees_its_engine(start):
    async with start(rogue("steady", "aleph"), rogue("steady", "beth")) as screen:
        await screen.until(lambda: all(lane.engine.is_open for lane in screen.lanes))
        await screen.press("f2")
        assert [column.display for column in screen.columns] == [True, False]
        assert "1/2 aleph" in screen.text
        await screen.press("tab")
        assert [column.display for column in screen.columns] == [False, True]
        await screen.press("f2")
        assert all(column.display for column in screen.columns)
        await screen.press("tab")
        gone = screen.lanes[0]
        await screen.press("f9")
        assert re.search("Close (aleph|beth) and its engine?", screen.text)
        await screen.press("y")
        await screen.until(lambda: len(screen.columns) == 1)
        assert not gone.engine.is_open
        assert screen.lanes[0].engine.definition.name == "beth"
        assert "Closed aleph: f3 adds its engine again, and its answers stay in the history." in screen.told


async def test_every_size_shows_the_current_lane_and_the_composer(start):
    async with start(*(rogue("wide", f"lane-{number}") for number in range(6)), size=(60, 15)) as screen:
        await screen.ask("hello")
        await screen.answered()
        for width, height in ((60, 15), (80, 24), (120, 40), (300, 100), (80, 24)):
            await screen.pilot.resize_terminal(width, height)
            count = min(6, width // 24)
            await screen.until(lambda count=count: sum(column.display for column in screen.columns) == count)
            shown = [column for column in screen.columns if column.display]
            assert all("語" in column.transcript.text for column in shown)
            assert "語" in screen.text
        await screen.press("f3")
        await screen.until(lambda: "6 lanes already" in screen.told)


async def test_a_terminal_with_few_rows_shows_an_answer_and_the_cursor(start):
    async with start(rogue("steady", max_tokens=2), size=(20, 5)) as screen:
        await screen.until(lambda: screen.columns[0].transcript.size.height, "there is a row for the answer")
        assert "max_tokens" not in screen.text
        await screen.ask("hi")
        await screen.answered()
        await screen.type(" ".join(f"word{number}" for number in range(20)))
        for rows in (5, 6, 7, 8, 12):
            await screen.pilot.resize_terminal(20, rows)
            await screen.until(lambda rows=rows: screen.app.screen.size.height == rows)
            await screen.until(lambda: "word19" in screen.text, f"the cursor's row in {rows} rows")
            assert "steady" in screen.text, "and the lane"
        await screen.pilot.resize_terminal(80, 24)
        await screen.until(lambda: "max_tokens=2" in screen.text.splitlines()[1])
        await screen.press("ctrl+u")
        await screen.ask("go")
        await screen.answered()
        for width in (5, 4, 3, 2, 1):
            await screen.pilot.resize_terminal(width, 10)
            await screen.press("f3", "a", "escape")
        await screen.pilot.resize_terminal(100, 30)
        await screen.until(lambda: "word0 word1" in screen.text)


async def test_a_search_finds_answers_of_suites(start):
    async with start(rogue("steady", max_tokens=3)) as screen:
        await screen.app.history.call(
            lambda store: add_experiment(store, {0: ("A zebra", "A giraffe")}).number
        )
        await screen.press("ctrl+o")
        await screen.type("giraffe")
        await screen.until(lambda: "answer e1/2 of a suite" in screen.text)
        await screen.press("ctrl+x")
        await screen.until(lambda: "enter opens its prompt as a conversation" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: len(screen.columns) == 2)
        await screen.until(lambda: "A giraffe" in screen.columns[1].transcript.text)
        assert "A zebra" in screen.columns[0].transcript.text
        assert "Prompt at 0" in screen.columns[0].transcript.text


async def test_the_lanes_of_the_last_session_are_restored_with_their_names(start):
    settings = "[engines.mine]\nbackend = 'rogue'\nmodel = 'steady'\nmax_tokens = 7\n"
    engines = rogue("steady", "mine", max_tokens=3), rogue("wide", "wide")
    async with start(*engines, settings=settings) as screen:
        await screen.press("ctrl+q")
    assert State(state_file()).saved.lanes == ("mine", "rogue:wide")
    async with start(rogue("mistyped"), settings=settings) as screen:
        await screen.until(lambda: screen.lanes[0].state == "failed")
        await screen.press("ctrl+q")
    async with start(settings=settings, remembered=True) as screen:
        lane, other = screen.lanes
        assert other.engine.definition.model == "wide"
        assert (lane.name, lane.engine.definition.options) == ("mine", {"max_tokens": 7})


async def test_thinking_is_folded_for_all_lanes(start):
    async with start(rogue("thinking", at=3, max_tokens=5)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.until(lambda: re.search(r"▸ thinking · 3 tokens · \d\.\d s\n\n  word3", screen.text))
        assert "word2" not in screen.text
        await screen.press("f6")
        await screen.until(lambda: re.search(r"┊ word0 word1 word2\n· 3 tokens · \d\.\d s\n", screen.text))


async def test_help_lists_the_active_keys_and_the_palette_every_command(start):
    async with start(rogue("steady"), settings='[keys]\nzoom = "ctrl+g"\n', size=(100, 140)) as screen:
        await screen.press("f1")
        await screen.until(lambda: type(screen.app.screen).__name__ == "HelpScreen")
        for command in COMMANDS:
            assert command.id in screen.text
        assert "^g" in screen.text
        await screen.press("escape")
        await screen.press("ctrl+g")
        assert screen.app.lanes.lanes.zoomed
        titles = [entry.title for entry in entries(screen.app, screen.app.lanes, screen.app.keys)]
        words = ("word-back", "word-forward", "delete-word-back", "delete-word")
        left_out = ("palette", "send", "newline", *words)
        wanted = [it for it in COMMANDS if it.id not in left_out and it.group != "Lane mode"]
        assert titles == [*(command.title for command in wanted), "Theme"]
        await screen.press("ctrl+p")
        await screen.until(lambda: type(screen.app.screen).__name__ == "Palette")
        ids = {command.id for command in COMMANDS if command.group != "Program"}
        assert set(screen.app.lanes._commands) == ids


async def test_two_quick_enters_in_a_picker_count_as_one(start):
    async with start(rogue("steady", max_tokens=2)) as screen:
        await screen.ask("hi")
        await screen.answered()
        for opening, name in (
            ("ctrl+o", "HistoryScreen"),
            ("f4", "EnginePicker"),
            ("ctrl+p", "Palette"),
        ):
            await screen.press(opening)
            await screen.until(lambda name=name: type(screen.app.screen).__name__ == name)
            await screen.press("down", "enter", "enter", "escape", "escape", "escape")
            await screen.until(lambda: screen.app.screen is screen.app.lanes)
        assert screen.app.is_running


async def test_a_sheet_shows_a_lanes_engine_and_problems_of_config_toml_are_shown(start):
    settings = '[keys]\nstop = "f1"\nzooom = "ctrl+g"\nzoom = "s"\n[ui]\ntheme = "mauve"\n'
    engines = rogue("cautious", "mine"), rogue("nothing", "gone")
    async with start(*engines, settings=settings, size=(120, 30)) as screen:
        for problem in ("stop and help", "config.toml:3", "'zoom'", "The key s is set for", "'mauve'"):
            await screen.until(lambda problem=problem: problem in screen.told, problem)
        await screen.until(lambda: [lane.state for lane in screen.lanes] == ["ready", "failed"])
        assert "fails on cue" in screen.text
        await screen.press("ctrl+l")
        for known in (
            "mine",
            "rogue, Rogue",
            "cautious",
            "4,096 tokens",
            "not seen",
            "This engine fails on cue.",
        ):
            assert known in screen.text
        await screen.press("ctrl+l")
        assert screen.app.screen is screen.app.lanes
        await screen.press("tab", "ctrl+l")
        assert "It is not open." in screen.text
        await screen.press("escape")
        assert screen.app.screen is screen.app.lanes


def prompt_rows(screen, number):
    """The rows of a lane's prompts in its transcript."""
    blocks = screen.columns[number].transcript.blocks
    return [block.start for block in blocks if block.kind == "prompt"]


async def test_turns_are_aligned_until_lanes_are_unlinked(start):
    async with start(rogue("steady", "a", max_tokens=2), rogue("steady", "b", max_tokens=400)) as screen:
        for text in ("first", "second"):
            await screen.ask(text)
            await screen.answered()
        await screen.until(lambda: prompt_rows(screen, 0) == prompt_rows(screen, 1))
        filled = prompt_rows(screen, 0)
        await screen.press("ctrl+home")
        assert [column.transcript._top for column in screen.columns] == [0, 0]
        await screen.press("f2")
        assert prompt_rows(screen, 0)[1] < filled[1], "alone, a lane has no filler"
        await screen.press("f2")
        await screen.until(lambda: prompt_rows(screen, 0) == filled)
        await screen.press("alt+L")
        assert prompt_rows(screen, 0)[1] < filled[1]
        assert "unlinked" in screen.text
        await screen.press("alt+L")
        await screen.until(lambda: prompt_rows(screen, 0) == filled)
        assert "unlinked" not in screen.text.splitlines()[-1]
        await screen.press("r")
        await screen.answered()
        await screen.press("g", "ctrl+d", "left_square_bracket")
        await screen.until(lambda: screen.lanes[0].path[-1] is screen.lanes[0].record.runs[1])
        tops = {column.transcript._top for column in screen.columns}
        assert len(tops) == 1, "another variant leaves the lanes aligned"
        assert tops != {0}
