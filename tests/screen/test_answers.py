"""A prompt is answered in every lane."""

import contextlib
import itertools
import sqlite3

from rogue_backend.definitions import rogue

from paragone import Image
from paragone_tui.screens.lanes.status import LaneStatusInfo
from paragone_workbench.paths import history_file
from paragone_workbench.store import saving


async def test_one_prompt_goes_to_both_lanes(start):
    async with start(rogue("steady", "left"), rogue("wide", "right")) as screen:
        # An empty conversation teaches three keys, and what the signs mean.
        assert "left and right answer side by side." in screen.text
        for lesson in (
            "alt+v where they diverge",
            "alt+c is it fair?",
            "alt+u vote blind",
            "◆ reference",
            "≠ cond",
        ):
            assert lesson in screen.text
        await screen.press("escape")
        assert "v where they diverge    c is it fair?    u vote blind" in screen.text
        await screen.press("i")
        await screen.ask("hello there")
        assert "where they diverge" not in screen.text
        await screen.answered()
        assert screen.text.count("hello there") == 2
        assert "word19" in screen.text
        assert "語19😀" in screen.text
        assert [lane.state for lane in screen.lanes] == ["done", "done"]
        assert screen.app.lanes.composer.text == ""
        assert "Cut at max_tokens (20)." in screen.text
        left, right = (column.transcript.region.y for column in screen.columns)
        assert left == right == 2, "a blank row stands below the header"
        await screen.press("ctrl+n")
        assert "where they diverge" in screen.text


async def test_a_prompt_waits_for_its_engine_to_load_and_for_the_previous_answer(start, tmp_path):
    gate, load_gate = tmp_path / "gate", tmp_path / "load"
    async with start(rogue("steady", gate=str(gate), load_gate=str(load_gate))) as screen:
        await screen.type("first")
        await screen.press("enter")
        assert screen.lanes[0].state == "loading"
        await screen.until(lambda: "loads, then answers" in screen.text)
        load_gate.touch()
        await screen.until(lambda: screen.lanes[0].state == "writing")
        assert "next lane" not in screen.text, "there is one lane only"
        await screen.type("second")
        await screen.press("enter")
        assert screen.app.lanes.composer.text == ""
        await screen.until(lambda: "writing +1" in screen.text, "the status line tells of it")
        assert "waits  second" in screen.text
        assert "second" not in screen.columns[0].transcript.text
        gate.touch()
        await screen.answered()
        kinds = [block.kind for block in screen.columns[0].transcript.blocks]
        assert kinds == ["prompt", "answer", "note", "prompt", "answer", "note"]
        assert "waits" not in screen.text
        assert "word19" in screen.text
        assert [run.state for run in screen.lanes[0].path] == ["done", "done"]


async def test_single_lanes_are_stopped_and_asked_and_keep_their_text(start):
    slow = {"rate": 20, "max_tokens": 2000}
    async with start(rogue("steady", "a", **slow), rogue("steady", "b", **slow)) as screen:
        await screen.until(lambda: [lane.state for lane in screen.lanes] == ["ready", "ready"])
        assert "^c stop" not in screen.text.splitlines()[-1], "nothing is to be stopped yet"
        await screen.ask("for both")
        await screen.until(lambda: all("word2" in column.transcript.text for column in screen.columns))
        assert "^c stop" in screen.text.splitlines()[-1]
        first, second = (column.transcript for column in screen.columns)
        await screen.press("f8")
        await screen.until(lambda: [lane.state for lane in screen.lanes] == ["stopped", "writing"])
        assert "word2" in first.text
        assert "Stopped." in first.text
        await screen.type("for one")
        await screen.press("ctrl+s")
        await screen.until(lambda: [lane.state for lane in screen.lanes] == ["writing", "writing"])
        assert "for one" in first.text, "the lane that still writes holds up nobody"
        assert "for one" not in second.text
        assert [len(lane.path) for lane in screen.lanes] == [2, 1]
        await screen.press("ctrl+c")
        await screen.until(lambda: [lane.state for lane in screen.lanes] == ["stopped", "stopped"])
        assert "^q quits" in screen.told
        assert "word2" in second.text
        assert "Stopped." in second.text
        await screen.until(lambda: "^c stop" not in screen.text.splitlines()[-1], "nothing is left to stop")


async def test_the_queue_is_kept_edited_removed_and_sent_again(start):
    async with start(rogue("steady", rate=20, max_tokens=1000)) as screen:
        for text in ("first", "second", "third"):
            await screen.ask(text)
        await screen.until(lambda: screen.lanes[0].state == "writing")
        await screen.press("ctrl+c")
        await screen.until(lambda: "kept   second" in screen.text, "a stop keeps the queue")
        kinds = [block.kind for block in screen.columns[0].transcript.blocks]
        assert kinds.count("prompt") == 1, "no empty turns"
        await screen.press("alt+Q", "ctrl+x", "enter")
        composer = screen.app.lanes.composer
        await screen.until(lambda: composer.text == "third", "the second is removed, the third edited")
        await screen.type(" edited")
        await screen.press("enter")
        await screen.until(
            lambda: screen.lanes[0].is_busy and "third edited" in screen.columns[0].transcript.text
        )
        await screen.ask("fourth")
        await screen.press("ctrl+c")
        await screen.until(lambda: "kept   fourth" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: "fourth" in screen.columns[0].transcript.text, "enter sends it again")
        assert "No engine is running" not in screen.told


async def test_a_regenerated_answer_replaces_the_first_as_a_variant(start):
    async with start(rogue("steady", max_tokens=3)) as screen:
        await screen.type("  ")
        await screen.press("enter")
        assert screen.app.lanes.session.prompts == []
        await screen.press("ctrl+u")
        await screen.type("one")
        await screen.press("ctrl+j")
        await screen.type("two")
        await screen.press("enter")
        await screen.answered()
        (prompt,) = screen.app.lanes.session.prompts
        assert prompt.text == "one\ntwo"
        await screen.press("ctrl+n")
        await screen.ask("go")
        await screen.answered()
        await screen.press("f5")
        await screen.answered()
        transcript = screen.columns[0].transcript
        assert [block.kind for block in transcript.blocks if block.kind in ("prompt", "answer")] == [
            "prompt",
            "answer",
        ]
        assert transcript.text.count("word1") == 1
        assert "→ m in lane mode continues from here." in transcript.text
        await screen.until(lambda: "2/2" in screen.text, "it says which of how many")
        second = screen.lanes[0].path[0]
        await screen.press("alt+left")
        await screen.until(lambda: "1/2" in screen.text)
        assert screen.lanes[0].path[0] is not second
        await screen.press("alt+right")
        await screen.until(lambda: "2/2" in screen.text)
        assert screen.lanes[0].path[0] is second
        await screen.press("alt+m")
        await screen.until(lambda: "word5" in transcript.text and not screen.lanes[0].is_busy)
        assert "word0 word1 word2 word3 word4 word5" in transcript.text, "the answer goes on from its end"
        assert "· Continues after 18 characters of an earlier answer." in transcript.text
        assert transcript.text.count("continues from here") == 1


async def test_in_sequential_mode_the_second_lane_waits_for_the_first(start):
    states = []

    async with start(rogue("steady", "a"), rogue("steady", "b"), mode="sequential") as screen:
        session = screen.app.lanes.session
        show = session.on_change

        def look():
            states.append([lane.state for lane in session.lanes])
            show()

        session.on_change = look
        await screen.ask("go")
        await screen.answered()
        assert [lane.state for lane in screen.lanes] == ["done", "done"]
    writing = (key for key, _ in itertools.groupby(states) if "writing" in key)
    assert list(writing) == [["writing", "waiting"], ["done", "writing"]]


async def test_the_status_line_shows_a_new_state_immediately_and_new_figures_later(start):
    async with start(rogue("steady"), size=(120, 30)) as screen:
        await screen.ask("go")
        await screen.answered()
        column, shown = screen.columns[0], list[LaneStatusInfo]()
        status = column.status.render_line(0).text
        assert "steady" in status
        assert "done" in status
        assert "tok/s" in status
        assert "/4,096" in status
        assert "20 tokens" in status
        column.status.show = shown.append
        column._figures.stop()
        column.show_state()
        assert column._figures.waiting
        assert not shown
        column._shown_state = "writing", 0
        column.show_state()
        assert [info.state for info in shown] == ["done"]


async def test_lanes_show_that_the_history_is_not_saved(start, monkeypatch):
    monkeypatch.setattr(saving, "BUSY_S", 0.05)
    async with start(rogue("steady", max_tokens=10**6, rate=100)) as screen:
        await screen.ask("first")
        session = screen.app.lanes.session
        await screen.until(lambda: session.conversation.number is not None, "the conversation is saved")
        with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await screen.until(lambda: "not saved" in screen.text, "the lane says so")
            other.execute("ROLLBACK")
        await screen.until(lambda: "not saved" not in screen.text, "it works again")
        await screen.until(lambda: "everything is saved" in screen.told)
        await screen.press("ctrl+c")
        await screen.answered()


async def test_an_earlier_prompt_is_edited_and_both_branches_stay(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        for text in ("first", "second"):
            await screen.ask(text)
            await screen.answered()
        composer = screen.app.lanes.composer
        await screen.press("alt+C")
        assert composer.text == "second"
        await screen.press("alt+C")
        assert composer.text == "first"
        assert "Editing prompt 1 of 2 · enter starts a branch · ctrl+c cancels" in screen.text
        await screen.type(" edited")
        await screen.press("enter")
        await screen.answered()
        await screen.until(lambda: "first edited" in screen.text)
        assert "second" not in screen.columns[0].transcript.text
        assert composer.text == ""
        await screen.press("alt+left")
        await screen.until(lambda: "second" in screen.columns[0].transcript.text, "the old branch, whole")
        await screen.press("alt+C", "ctrl+c")
        assert (composer.text, composer.edited) == ("", None), "an edit is given up"
        await screen.press("alt+C", "ctrl+n")
        assert (composer.text, composer.edited) == ("second", None), (
            "it is a new prompt of the new conversation"
        )


async def test_the_line_above_an_edit_explains_the_stop_key(start):
    async with start(
        rogue("steady", "quick", max_tokens=1),
        rogue("steady", "slow", max_tokens=10**6, rate=20),
        size=(80, 24),
    ) as screen:
        await screen.ask("go")
        await screen.until(lambda: screen.lanes[0].path and not screen.lanes[0].is_busy)
        await screen.press("alt+C")
        assert "enter starts a branch · ctrl+c stops the lanes first" in screen.text
        await screen.press("ctrl+c")
        await screen.until(lambda: "ctrl+c cancels" in screen.text)
        assert screen.app.lanes.composer.edited is not None
        await screen.press("ctrl+c")
        assert screen.app.lanes.composer.edited is None


async def test_an_edit_that_no_engine_can_answer_is_kept(start):
    image = Image(name="sea.png", media_type="image/png", data="")
    async with start(
        rogue("steady", "asked", max_tokens=1), rogue("steady", "other", max_tokens=1)
    ) as screen:
        await screen.until(lambda: all(lane.engine.is_open for lane in screen.lanes))
        await screen.type("hello")
        await screen.press("ctrl+s")
        await screen.answered()
        await screen.lanes[0].close()
        composer = screen.app.lanes.composer
        await screen.press("alt+C")
        composer.attachments.images = (image,)
        prompt = composer.edited
        await screen.type(" edited")
        await screen.press("enter")
        await screen.until(lambda: "No engine is running" in screen.told)
        assert prompt is not None
        assert (composer.text, composer.draft.images, composer.edited) == ("hello edited", (image,), prompt)
