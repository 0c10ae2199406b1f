"""Deleting earlier conversations, and going to what a search found."""

from rogue_backend.definitions import rogue


async def opened(screen, *, count: int):
    await screen.press("ctrl+o")
    await screen.until(lambda: type(screen.app.screen).__name__ == "ConversationPicker")
    await screen.until(lambda: screen.app.screen.options.option_count == count)


async def test_a_conversation_is_deleted_by_a_second_press(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        for text in ("about whales", "about birds"):
            await screen.ask(text)
            await screen.answered()
            await screen.press("ctrl+n")
        await opened(screen, count=2)
        await screen.press("ctrl+x")
        assert "again" in screen.text
        await screen.press("down", "ctrl+x", "up")
        assert "again" not in screen.text, "moving on cancels it"
        await screen.press("ctrl+x", "ctrl+x")
        await screen.until(lambda: screen.app.screen.options.option_count == 1)
        assert "about birds" not in screen.text
        (left,) = await screen.app.history.conversations()
        assert left.title == "about whales"


async def test_the_open_conversation_is_not_deleted(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.ask("keep me")
        await screen.answered()
        await opened(screen, count=1)
        await screen.press("ctrl+x", "ctrl+x")
        assert "This conversation is open" in screen.text
        assert len(await screen.app.history.conversations()) == 1


async def test_a_found_answer_is_scrolled_to_in_its_lane(start):
    settings = {"max_tokens": 400, "rate": 100000}
    async with start(
        rogue("steady", "a", **settings), rogue("wide", "b", **settings), size=(80, 20)
    ) as screen:
        await screen.ask("first")
        await screen.answered()
        await screen.ask("second")
        await screen.answered()
        await screen.press("ctrl+n")
        await opened(screen, count=1)
        await screen.type("語123")
        await screen.until(lambda: "語123" in screen.app.screen.options.get_option_at_index(0).prompt.plain)
        await screen.press("enter")
        await screen.until(lambda: "語123" in screen.columns[1].transcript.text)
        assert screen.app.lanes.lanes.position == 1
        assert not screen.columns[1].transcript.following
        assert screen.columns[0].transcript._top == screen.columns[1].transcript._top, (
            "linked lanes come along"
        )


async def test_a_found_variant_is_shown(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.ask("old words")
        await screen.answered()
        await screen.press("alt+C")
        screen.app.lanes.composer.put("new words")
        await screen.press("enter")
        await screen.answered()
        await screen.press("ctrl+n")
        await opened(screen, count=1)
        await screen.type("old")
        await screen.until(lambda: screen.app.screen._hits)
        await screen.press("enter")
        await screen.until(lambda: "old words" in screen.columns[0].transcript.text)
        assert "new words" not in screen.columns[0].transcript.text


async def test_a_reopened_lane_shows_the_tokens_of_its_last_run(start):
    async with start(rogue("steady", max_tokens=3), size=(100, 24)) as screen:
        await screen.ask("go")
        await screen.answered()
        (before,) = [part for part in screen.columns[0].status.text.split("  ") if "/4,096" in part]
        assert before.strip() != "context 0/4,096"
        await screen.press("ctrl+n")
        await screen.until(lambda: "context 0/4,096" in screen.columns[0].status.text)
        await opened(screen, count=1)
        await screen.press("enter")
        await screen.until(lambda: "word0" in screen.columns[0].transcript.text)
        assert before.strip() in screen.columns[0].status.text
