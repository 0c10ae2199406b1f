"""The sheet with what a lane cost."""

import sys
import threading

from rogue_backend.definitions import rogue

from paragone import InputError
from paragone_tui.screens.sheets import CostsSheet
from paragone_workbench import costs as ledger


async def sheet(screen) -> list[str]:
    await screen.press("escape", "dollar_sign")
    await screen.until(lambda: isinstance(screen.app.screen, CostsSheet), "the sheet opens")
    await screen.until(lambda: "rices" in screen.text, "the prices come")
    return [line.strip("│ ") for line in screen.text.splitlines()]


async def test_the_sheet_does_not_wait_for_the_prices_and_can_be_closed_before_they_come(start, monkeypatch):
    asked, found = threading.Event(), threading.Event()

    def price_list():
        asked.set()
        found.wait()
        raise InputError("There are no prices.")

    monkeypatch.setattr(ledger, "price_list", price_list)
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.press("escape", "dollar_sign")
        await screen.until(lambda: "tokens out" in screen.text and asked.is_set(), "the sheet opens")
        await screen.press("q")
        await screen.until(lambda: not isinstance(screen.app.screen, CostsSheet))
        asked.clear()
        await screen.press("dollar_sign")
        await screen.until(lambda: "tokens out" in screen.text and asked.is_set(), "it opens again")
        found.set()
        await screen.until(lambda: "There are no prices." in screen.text)


async def test_all_answers_of_a_lane_count_under_their_engines(start):
    async with start(rogue("steady", "first", max_tokens=3)) as screen:
        await screen.press("escape", "dollar_sign")
        assert "This lane has no answer yet" in screen.told
        await screen.ask("go")
        await screen.answered()
        await screen.press("f5")  # a variant
        await screen.answered()
        lines = await sheet(screen)
        figures = {name: value for name, _, value in (line.partition("  ") for line in lines)}
        assert "What first cost in this conversation" in screen.text
        assert (figures["answers"].strip(), figures["tokens out"].strip()) == ("2", "6")
        assert "$" in figures["at groq:llama-3.1-8b-instant"]
        await screen.press("q")
        (lane,) = screen.lanes
        await lane.swap(rogue("steady", "second", max_tokens=2))
        await screen.ask("and you?")
        await screen.answered()
        lines = await sheet(screen)
        assert [line.split() for line in lines if line.startswith(("first", "answers", "tokens out"))] == [
            ["first", "second", "total"],
            ["answers", "2", "1", "3"],
            ["tokens", "out", "6", "2", "8"],
        ]


async def test_without_the_price_list_the_sheet_shows_how_to_install_it(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.ask("go")
        await screen.answered()
        lines = await sheet(screen)
        assert any(line.startswith("The prices of providers need the package genai-prices") for line in lines)
        assert not any(line.startswith("at ") for line in lines)
