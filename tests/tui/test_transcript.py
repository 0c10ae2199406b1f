import pytest
from emulator import Watched, settle

from paragone_tui.transcript import Transcript

ANSWER = "It **scatters**.\n\n- blue\n- not red\n"


def shown(app):
    return app.terminal.text.strip("\n")


async def transcript(pilot, **options):
    """Mount a transcript and wait for its first painting."""
    widget = Transcript(**options)
    await pilot.app.mount(widget)
    await settle(pilot)
    return widget


@pytest.fixture
async def pilot():
    async with Watched().run_test(size=(40, 20)) as pilot:
        yield pilot


async def test_a_conversation_is_shown_in_order(pilot):
    lane = await transcript(pilot)
    lane.add("prompt", "Why is the sky blue?")
    for piece in ("Let me ", "think."):
        lane.write(piece, "thinking")
    for piece in ("It **scat", "ters**.\n\n", "- blue\n- not red\n"):
        lane.write(piece)
    lane.end()
    lane.add("note", "Stopped.")
    lane.add("caution", "The oldest turn was dropped.")
    lane.add("error", "The worker was killed.", log=["ggml.c:7: assert", "Aborted"], hint="Press ctrl+r.")
    await settle(pilot)
    assert (
        shown(pilot.app)
        == """\
▎ Why is the sky blue?

┊ Let me think.

  It scatters.

   • blue
   • not red

· Stopped.
! The oldest turn was dropped.

✗ The worker was killed.
→ Press ctrl+r.
│ ggml.c:7: assert
│ Aborted"""
    )
    assert all(block.finished for block in lane.blocks)
    assert lane.text.strip() == shown(pilot.app)


async def test_an_answer_is_typeset_while_it_grows(pilot):
    lane = await transcript(pilot)
    seen = []
    for at in range(len(ANSWER)):
        lane.write(ANSWER[at])
        lane._typesetter._rests_until = 0.0
        lane.flush()
        seen.append(lane.text)
    assert not any(sign in text for text in seen for sign in "*-")
    lane.end()
    await settle(pilot)
    assert shown(pilot.app) == seen[-1].rstrip() == "  It scatters.\n\n   • blue\n   • not red"


async def test_without_markdown_an_answer_stays_plain(pilot):
    lane = await transcript(pilot, markdown=False)
    lane.add("answer", ANSWER)
    await settle(pilot)
    assert "**scatters**" in shown(pilot.app)


async def test_thinking_is_folded_and_unfolded(pilot):
    lane = await transcript(pilot)

    async def folded(folded: bool) -> str:
        lane.fold(thinking=folded, logs=True)
        await settle(pilot)
        return shown(pilot.app)

    lane.write("\n\n", "thinking")
    assert await folded(True) == "", "empty thinking takes no space"
    lane.write("One ", "thinking")
    assert await folded(True) == "▸ thinking · 1 word"
    lane.write("two thr", "thinking")
    lane.write("ee\nfour", "thinking")
    lane.write("\n\nSo.")
    assert await folded(True) == "▸ thinking · 4 words\n\n  So."
    assert await folded(False) == "┊ One two three\n┊ four\n\n  So."
    lane.set_hint(lane.blocks[0], "5 tokens · 0.2 s")
    assert await folded(True) == "▸ thinking · 5 tokens · 0.2 s\n\n  So."
    assert await folded(False) == "┊ One two three\n┊ four\n· 5 tokens · 0.2 s\n\n  So."


async def test_rewind_goes_back_to_the_last_prompt_and_clear_removes_all(pilot):
    lane = await transcript(pilot)
    lane.add("prompt", "1")
    lane.add("answer", "first")
    lane.add("prompt", "2")
    lane.write("hm", "thinking")
    lane.write("second")
    await settle(pilot)
    lane.rewind()
    await settle(pilot)
    assert shown(pilot.app) == "▎ 1\n\n  first\n\n▎ 2"
    lane.write("another")
    lane.end()
    await settle(pilot)
    assert shown(pilot.app) == "▎ 1\n\n  first\n\n▎ 2\n\n  another"
    lane.write("half an ans")
    lane.clear()
    await settle(pilot)
    assert shown(pilot.app) == ""
    lane.write("new")
    await settle(pilot)
    assert shown(pilot.app) == "  new"


async def test_a_line_break_split_between_two_tokens_is_one_break(pilot):
    lane = await transcript(pilot, markdown=False)
    for piece in ("a\r", "\nb", "\r", "c\r"):
        lane.write(piece)
    await settle(pilot)
    assert shown(pilot.app) == "  a\n  b␍c"
    lane.end()
    await settle(pilot)
    assert shown(pilot.app) == "  a\n  b␍c␍"


async def test_a_transcript_can_be_removed_while_it_is_written(pilot):
    lane = await transcript(pilot)
    lane.write("half")
    await lane.remove()
    lane.write(" more")
    lane.end()
    lane.add("note", "Stopped.")
    await pilot.pause()
    assert shown(pilot.app) == ""


async def test_a_remark_ends_its_turn(pilot):
    lane = await transcript(pilot)
    turns = object(), object()
    for turn, text in zip(turns, ("first", "second"), strict=True):
        lane.add("prompt", text, turn=turn)
        lane.add("answer", f"the {text} answer")
    for remark in ("One.", "Another.", "Another."):
        lane.set_remark(turns[0], remark)
    await settle(pilot)
    assert "· Another.\n\n▎ second" in shown(pilot.app)
    lane.set_remark(turns[0], "")
    await settle(pilot)
    assert "Another" not in shown(pilot.app)
