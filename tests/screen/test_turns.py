"""The turn cursor: any turn is selected by keyboard, and commands are for it."""

from rogue_backend.definitions import rogue


async def test_commands_apply_to_the_selected_turn(start):
    async with start(rogue("steady", max_tokens=1)) as screen:
        for text in ("first", "second", "third"):
            await screen.ask(text)
            await screen.answered()
        lane, transcript = screen.lanes[0], screen.columns[0].transcript
        await screen.press("escape", "K", "K")
        await screen.until(lambda: "▶ second" in transcript.text, "the selected turn is marked")
        for hint in ("[ ] variant", "C edit", "F fork"):
            assert hint in screen.text.splitlines()[-1]
        await screen.press("f5")
        await screen.answered()
        await screen.until(lambda: "▶ second" in transcript.text and "2/2" in transcript.text)
        assert "third" not in transcript.text
        await screen.press("f5")
        await screen.answered()
        await screen.press("alt+up", "f5")
        await screen.answered()
        await screen.press("alt+left")
        await screen.until(lambda: "▶ first" in transcript.text and "second" in transcript.text)
        await screen.press("alt+down", "alt+right")
        await screen.until(
            lambda: "third" in transcript.text, "the branch below the regenerated turn is back"
        )
        assert "▶ second" in transcript.text
        await screen.press("alt+C")
        assert screen.app.lanes.composer.text == "second", "the selected prompt is edited"
        await screen.press("ctrl+c", "escape", "F")
        await screen.until(
            lambda: len(screen.columns) == 2 and len(screen.lanes[1].path) == 2, "it is forked"
        )
        assert screen.lanes[1].path == lane.path[:2]
        assert "▶" not in screen.columns[0].transcript.text
        await screen.press("h", "T")
        await screen.until(lambda: type(screen.app.screen).__name__ == "TurnTree")
        rows = screen.text.splitlines()
        (first,), (second,) = ([row for row in rows if sign in row] for sign in ("1/2 first", "2/2 first"))
        assert first.index("1/2") == second.index("2/2"), "variants stand below each other"
        assert screen.text.count("●") == 3 + 1, "the heading explains the sign"
        await screen.press("down", "enter")
        await screen.until(
            lambda: "2/3" in transcript.text and "▶ second" in transcript.text, "it goes there"
        )
