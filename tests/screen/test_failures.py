"""Failing engines: the lane shows why, other lanes continue, and a key restarts the engine."""

import asyncio

from rogue_backend.definitions import rogue

CRASHES = {
    "abort": "ended by SIGABRT",
    "exit": "exit code 3",
    "torn": "ended unexpectedly with exit code 0",
    "garbage": "sent an unreadable message",
    "orphan": "exit code 4",
}


async def test_a_crash_affects_only_its_lane(start):
    crashing = (rogue(model, rate=50) for model in CRASHES)
    async with start(*crashing, rogue("steady", rate=200), size=(240, 60)) as screen:
        await screen.ask("go")
        await screen.answered()
        *broken, steady = screen.columns

        def said(column) -> str:
            return " ".join(column.transcript.text.split())

        assert steady.lane.state == "done"
        assert "word19" in steady.transcript.text
        for column, what in zip(broken, CRASHES.values(), strict=True):
            assert column.lane.state == "crashed"
            await screen.until(lambda column=column, what=what: what in said(column), what)
            assert "word" in column.lane.answer(screen.app.lanes.session.prompts[0]).text
            assert "f7 starts the engine again" in said(column)
        for column, what in zip(broken, CRASHES.values(), strict=True):
            await screen.press("f7")
            await screen.until(lambda column=column: column.lane.state == "ready", "the engine starts again")
            await screen.until(lambda column=column: "starts the engine again" not in said(column))
            assert what in said(column)
            await screen.press("tab")
        await screen.press("tab", "f5")
        await screen.answered()
        assert "word0" in broken[0].transcript.text  # the end of the process can take the last words with it


async def test_the_crash_card_shows_the_librarys_message_or_a_known_cause_and_cure(start):
    async with start(rogue("abort"), rogue("null", build="ROGUE = 1"), size=(200, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.until(lambda: "GGML_ASSERT(false) failed" in screen.text, "the card is there")
        await screen.until(lambda: "SIGSEGV: it is a rogue." in screen.text, "the card names the cause")
        assert "Ask it politely." in screen.text


async def test_an_engine_that_does_not_stop_is_ended(start, monkeypatch, tmp_path):
    monkeypatch.setattr("paragone.worker.client.GRACE", 0.1)
    gate = tmp_path / "gate"
    async with start(rogue("deaf"), rogue("steady", gate=str(gate)), size=(160, 30)) as screen:
        await screen.ask("go")
        await screen.until(lambda: screen.lanes[0].present and "word4" in screen.lanes[0].present.text)
        await screen.press("f8")
        await screen.until(lambda: screen.lanes[0].state == "crashed", "the deaf engine is ended")
        assert "did not stop" in " ".join(screen.columns[0].transcript.text.split())
        assert "word4" in screen.columns[0].transcript.text
        gate.touch()
        await screen.answered()
        assert screen.lanes[1].state == "done"


async def test_engines_output_does_not_reach_the_screen_but_errors_do(
    start,
):
    lanes = rogue("raises"), rogue("loud"), rogue("escapes", "[b]x\x1b[2J"), rogue("nonsense")
    async with start(*lanes, size=(360, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        assert screen.lanes[0].state == "failed"
        assert "the kernel image is unhappy" in screen.text
        assert "word19" in screen.columns[1].transcript.text
        for wrong in ("Traceback", "ooooo", "printed from Python", "\x1b", "\u202e"):
            assert wrong not in screen.text
        assert screen.lanes[3].state == "failed"
        assert "There is no model 'nonsense'" in " ".join(screen.columns[3].transcript.text.split())
        assert "nonsense takes no prompt; f7 restarts" in screen.text.splitlines()[-3]
        assert "[bold]mark[/bold]" in screen.text
        assert "[b]x␛[2J" in screen.columns[2].status.render_line(0).text


async def test_a_prompt_without_any_engine_stays_in_the_composer(start):
    async with start(rogue("nonsense")) as screen:
        await screen.ask("go")
        await screen.until(lambda: "No engine is running" in screen.told)
        assert screen.app.lanes.composer.text == "go"


async def test_a_prompt_beyond_the_context_is_refused_with_its_length(start):
    async with start(rogue("steady", context=3), size=(120, 30)) as screen:
        await screen.ask("one two three four")
        await screen.answered()
        await screen.until(lambda: "The prompt has 5 tokens, the context 3." in screen.text)
        assert screen.lanes[0].engine.is_open


async def mistaken() -> None:
    raise ZeroDivisionError


async def test_internal_errors_are_reported_and_the_program_continues(start, home, monkeypatch):
    async with start(rogue("steady")) as screen:
        monkeypatch.setitem(screen.app.lanes._commands, "next-lane", lambda screen: 1 / 0)
        loop = asyncio.get_running_loop()
        for fail in (
            lambda: screen.app.run_action("screen.command('next-lane')"),
            lambda: screen.app.lanes.run_worker(mistaken()),
            lambda: loop.call_soon(lambda: 1 / 0),
        ):
            pending = fail()
            if asyncio.iscoroutine(pending):
                await pending
            await screen.until(lambda: "An internal error" in screen.told, "it is told")
            (report,) = (home / "state").rglob("paragone-crash*")
            assert "ZeroDivisionError" in report.read_text()
            report.unlink()
            screen.app.clear_notifications()
            assert not screen.told
        await screen.ask("go")
        await screen.answered()
        assert "word19" in screen.text


LAST_WORDS = "\n".join(
    f"library.cpp:{number}: the library says something long before it aborts" for number in range(12)
)


async def test_a_crash_message_stays_visible_and_a_key_shows_the_log(start):
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
