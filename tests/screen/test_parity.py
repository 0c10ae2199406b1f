"""The parity sheet: what it says, what its keys set, and the marks in the lanes."""

import pytest
from rogue_backend.definitions import rogue

from paragone_tui.screens.parity import ParitySheet
from paragone_workbench.runs import scheduler


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Each run has one thread, also where the other lane ends before it starts and would leave it all cores."""
    monkeypatch.setattr(scheduler, "physical_cores", lambda: 1)


async def sheet(screen) -> None:
    await screen.app.run_action("screen.command('parity')")
    await screen.until(lambda: isinstance(screen.app.screen, ParitySheet), "the sheet opens")


UNLIKE = rogue("steady", "first", max_tokens=2), rogue("steady", "second")
"""Lanes that differ in one condition."""


async def marked(screen) -> None:
    """Ask a prompt, and wait until both lanes are marked as different in one condition."""
    await screen.ask("go")
    await screen.answered()
    await screen.until(lambda: screen.text.count("≠ 1") == 2, "both lanes have the mark")


async def test_a_sampling_option_is_levelled(start):
    async with start(*UNLIKE) as screen:
        await marked(screen)
        await sheet(screen)
        assert "Asked differently: 1 condition differs." in screen.text
        assert "≠ max_tokens is 2 in first and 20 in second." in screen.text
        assert "1 sets max_tokens=2 in second" in screen.text
        assert "? first does not report: " in screen.text
        await screen.press("1")
        assert "✓ set max_tokens=2 in second; it applies to the next prompt" in screen.text
        await screen.press("9", "1")  # nothing more to set
        await screen.press("escape")
        await screen.ask("again")
        await screen.answered()
        await sheet(screen)
        assert "≠" not in screen.text.partition("Was it fair?")[2], "what differs was to be expected"
        assert "own answers, so the prompts differ." in " ".join(screen.text.replace("│", "").split())
        await screen.press("escape", "ctrl+n")
        await screen.ask("again")
        await screen.answered()
        await screen.until(lambda: "≠" not in screen.text, "the marks are gone")
        session = screen.app.lanes.session
        await session.configure(screen.lanes[1], rogue("steady", "second", max_tokens=1))
        await screen.ask("brief")
        await screen.answered()
        await screen.until(
            lambda: screen.text.count("≠ 1") == 2, "what the user sets in one lane differs too"
        )
        await session.configure(screen.lanes[1], rogue("steady", "second", max_tokens=2))
        await screen.press("ctrl+n")
        await screen.ask("again")
        await screen.answered()
        assert [lane.last_answer for lane in screen.lanes] == ["word0 word1 ", "word0 word1 "]
        await sheet(screen)
        assert "Asked alike as far as is known; not known: " in screen.text


async def test_a_load_option_is_levelled_once_the_key_is_pressed_again(start):
    lanes = rogue("steady", "first"), rogue("steady", "second", context=512)
    async with start(*lanes) as screen:
        await screen.until(lambda: all(lane.engine.is_open for lane in screen.lanes), "engines open")
        assert not any("≠" in column.status.render_line(0).text for column in screen.columns)
        await sheet(screen)
        assert "Before the first prompt: Asked differently: 1 condition differs." in screen.text
        await screen.press("escape")
        await screen.ask("go")
        await screen.answered()
        await sheet(screen)
        assert "1 sets context=4096 in second, which reloads the model" in screen.text
        before = screen.lanes[1].engine._opened
        await screen.press("1")
        assert "1 again reloads second and stops its answer" in screen.text
        assert screen.lanes[1].engine._opened is before
        await screen.press("1")
        await screen.until(
            lambda: screen.lanes[1].engine.loaded not in (None, before.loaded), "it is reloaded"
        )
        assert screen.lanes[1].engine.loaded.context == 4096
        await screen.press("escape")
        await screen.ask("again")
        await screen.answered()
        await sheet(screen)
        assert "≠" not in screen.text


async def test_engines_are_compared_before_the_first_answers(start, tmp_path):
    gate = str(tmp_path / "gate")
    async with start(rogue("steady", gate=gate), rogue("steady", gate=gate)) as screen:
        for words in ("Before the first prompt: ", "Until there are answers: "):
            await sheet(screen)
            assert words in screen.text
            await screen.press("q")
            await screen.ask("go")
        (tmp_path / "gate").touch()
        await screen.answered()
        await screen.press("f9", "y")
        await screen.until(lambda: len(screen.lanes) == 1)
        assert "≠" not in screen.text
        await sheet(screen)
        assert "No comparison is possible" in screen.text


async def test_marks_of_earlier_answers_and_replaced_engines_are_removed(start):
    async with start(*UNLIKE) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.until(lambda: "≠ 1" in screen.text)
        await screen.press("ctrl+n")
        await screen.until(
            lambda: not any("≠" in column.status.render_line(0).text for column in screen.columns),
            "a new conversation has no marks",
        )
        await screen.ask("go")
        await screen.answered()
        await screen.until(lambda: "≠ 1" in screen.text)
        await screen.press("f4")
        await screen.until(lambda: type(screen.app.screen).__name__ == "EnginePicker")
        await screen.type("rogue:wide")
        await screen.press("enter")
        await screen.until(lambda: screen.app.screen is screen.app.lanes)
        await screen.until(
            lambda: not any("≠" in column.status.render_line(0).text for column in screen.columns),
            "no two of the present engines have answered",
        )


async def test_a_lane_that_did_not_answer_is_named(start):
    lanes = [rogue("steady", "first", max_tokens=2), rogue("steady", "second", max_tokens=3)]
    lanes.append(rogue("nonsense", "broken"))
    async with start(*lanes) as screen:
        await screen.ask("go")
        await screen.answered()
        await sheet(screen)
        assert "Without broken: the engine has no answer to compare." in screen.text
        assert "≠ max_tokens is 2 in first and 3 in second." in screen.text
        assert "1 sets max_tokens=2 in second" in screen.text
        assert "Asked differently: 1 condition differs." in screen.text
