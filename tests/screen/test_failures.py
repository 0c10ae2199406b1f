"""Failing engines: the lane shows why, other lanes continue, and a key restarts the engine."""

import asyncio

import pytest
from rogue_backend.definitions import rogue

SENTENCES = {
    "killed": "ended by SIGKILL",
    "null": "ended by SIGSEGV",
    "abort": "ended by SIGABRT",
    "exit": "exit code 3",
    "torn": "ended unexpectedly with exit code 0",
    "garbage": "sent an unreadable message",
    "orphan": "exit code 4",
}


@pytest.mark.parametrize("model", SENTENCES)
async def test_a_crash_stays_in_its_lane(start, model):
    async with start(rogue(model, rate=50), rogue("steady", rate=200), size=(160, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        broken, steady = screen.columns
        assert broken.lane.state == "crashed"

        def said() -> str:
            return " ".join(broken.transcript.text.split())

        await screen.until(lambda: SENTENCES[model] in said(), "the lane says what happened")
        assert "word" in broken.lane.answer(screen.app.lanes.session.prompts[0]).text
        assert steady.lane.state == "done"
        assert "word19" in steady.transcript.text
        assert "f7 starts the engine again" in said()
        await screen.press("f7")
        await screen.until(lambda: broken.lane.state == "ready", "the engine starts again")
        await screen.until(lambda: "starts the engine again" not in said(), "the advice is gone")
        assert SENTENCES[model] in said()
        await screen.press("f5")
        await screen.answered()
        assert "word0" in broken.transcript.text  # the end of the process can take the last words with it


async def test_the_card_shows_what_the_library_said(start):
    async with start(rogue("abort"), size=(120, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.until(lambda: "GGML_ASSERT(false) failed" in screen.text, "the card is there")


async def test_the_card_shows_a_known_cause_and_its_cure(start):
    async with start(rogue("null", build="ROGUE = 1"), size=(120, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.until(lambda: "SIGSEGV: it is a rogue." in screen.text, "the card names the cause")
        assert "Ask it politely." in screen.text


async def test_an_engine_that_does_not_stop_is_ended(start):
    async with start(rogue("deaf"), rogue("steady", rate=50, max_tokens=200), size=(160, 30)) as screen:
        await screen.ask("go")
        await screen.until(lambda: screen.lanes[0].present and "word4" in screen.lanes[0].present.text)
        await screen.press("f8")
        await screen.until(lambda: screen.lanes[0].state == "crashed", "the deaf engine is ended")
        assert "did not stop" in " ".join(screen.columns[0].transcript.text.split())
        assert "word4" in screen.columns[0].transcript.text
        await screen.answered()
        assert screen.lanes[1].state == "done"


async def test_a_mistake_of_an_engine_is_a_sentence(start):
    async with start(rogue("raises"), size=(120, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        assert "the kernel image is unhappy" in screen.text
        assert "Traceback" not in screen.text
        assert screen.lanes[0].state == "failed"


async def test_a_megabyte_of_prints_reaches_no_screen(start):
    async with start(rogue("loud"), size=(120, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        assert "word19" in screen.text
        assert "ooooo" not in screen.text
        assert "printed from Python" not in screen.text


async def test_what_a_model_says_never_steers_the_terminal(start):
    async with start(rogue("escapes", "[bold]name\x1b[2J"), size=(120, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        assert "\x1b" not in screen.text
        assert "\u202e" not in screen.text
        assert "[bold]mark[/bold]" in screen.text
        assert "[bold]name␛[2J" in screen.columns[0].status.render_line(0).text


async def test_an_engine_that_cannot_be_opened_says_why(start):
    async with start(rogue("nonsense"), rogue("steady"), size=(160, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        assert "There is no model 'nonsense'" in " ".join(screen.columns[0].transcript.text.split())
        assert screen.lanes[0].state == "failed"
        assert screen.lanes[1].state == "done"
        assert "nonsense takes no prompt; f7 restarts" in screen.text.splitlines()[-3]


async def test_a_prompt_without_any_engine_stays_in_the_composer(start):
    async with start(rogue("nonsense")) as screen:
        await screen.ask("go")
        await screen.until(lambda: "No engine is running" in screen.told)
        assert screen.app.lanes.composer.text == "go"


async def test_a_prompt_beyond_the_context_is_refused_with_figures(start):
    async with start(rogue("steady", context=3), size=(120, 30)) as screen:
        await screen.ask("one two three four")
        await screen.answered()
        await screen.until(lambda: "The prompt has 5 tokens, the context 3." in screen.text)
        assert screen.lanes[0].engine.is_open


async def test_a_mistake_in_an_action_is_told(start, home, monkeypatch):
    async with start(rogue("steady")) as screen:
        monkeypatch.setitem(screen.app.lanes.commands, "next-lane", lambda: 1 / 0)
        await screen.press("tab")
        await screen.until(lambda: "An internal error" in screen.told)
        (report,) = (home / "state").rglob("paragone-crash*")
        assert "ZeroDivisionError" in report.read_text()
        await screen.ask("go")
        await screen.answered()
        assert "word19" in screen.text


async def test_a_mistake_in_a_worker_of_the_screen_is_told(start, home):
    async def mistaken() -> None:
        raise ZeroDivisionError

    async with start(rogue("steady")) as screen:
        screen.app.lanes.run_worker(mistaken())
        await screen.until(lambda: "An internal error" in screen.told)
        (report,) = (home / "state").rglob("paragone-crash*")
        assert "ZeroDivisionError" in report.read_text()
        await screen.ask("go")
        await screen.answered()
        assert "word19" in screen.text


async def test_a_mistake_that_ends_nothing_is_told(start, home):
    async with start(rogue("steady")) as screen:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await screen.until(lambda: "An internal error" in screen.told)
        (report,) = (home / "state").rglob("paragone-crash*")
        assert "ZeroDivisionError" in report.read_text()
        await screen.ask("go")
        await screen.answered()
        assert "word19" in screen.text


LAST_WORDS = "\n".join(
    f"library.cpp:{number}: the library says something long before it aborts" for number in range(12)
)


async def test_the_sentence_of_a_crash_stays_in_sight_and_a_key_shows_the_log(start):
    lanes = [rogue("abort", str(number), last_words=LAST_WORDS) for number in range(2)]
    async with start(*lanes, size=(80, 24)) as screen:
        await screen.ask("go")
        await screen.answered()
        for width, height in ((80, 24), (100, 30)):
            await screen.pilot.resize_terminal(width, height)
            await screen.until(
                lambda: screen.text.count("lines of its log; E in") == 2, "both cards are there"
            )
            for column in screen.columns:
                said = " ".join(column.transcript.text.split())
                assert "The engine's process was ended by SIGABRT" in said
                assert "f7 starts the engine again" in said
                assert "library.cpp" not in said
            await screen.press("alt+E")
            await screen.until(lambda: "library.cpp:11" in screen.text, "the log is shown")
            assert "E in lane mode shows" not in screen.text
            await screen.press("alt+E")
            await screen.until(lambda: screen.text.count("lines of its log; E in") == 2, "it is folded again")
