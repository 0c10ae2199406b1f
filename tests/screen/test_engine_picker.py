"""The engine picker, and the first screen, which it is part of."""

import asyncio
import os
import threading

import pytest
from rogue_backend.definitions import rogue
from rogue_backend.plugin import RogueBackend

from paragone import ModelInfo, ParagoneError, Probe
from paragone_workbench.config import read as config
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import from_spec
from paragone_workbench.paths import state_file

ADDED = from_spec("rogue:steady")


@pytest.fixture(autouse=True)
def rogue_alone(monkeypatch):
    """Only the rogue backend is there; its models and its demo are those of a test."""
    monkeypatch.setattr(
        "paragone_workbench.engines.registry.Registry.all", lambda self: {"rogue": self.find("rogue")}
    )


@pytest.fixture
def offers(monkeypatch):
    """Have the rogue backend find models and offer a demo."""

    def with_these(*models: str, demo: tuple[str, ...] = ()) -> None:
        async def two(self, cache, *, create=True):
            return [ModelInfo(model=model, name=f"demo-{model}") for model in demo]

        monkeypatch.setattr(
            RogueBackend, "find_models", lambda self, folders: [ModelInfo(model=it, name=it) for it in models]
        )
        monkeypatch.setattr(RogueBackend, "demo", two)

    return with_these


async def picker(screen):
    await screen.until(lambda: type(screen.app.screen).__name__ == "EnginePicker")


async def looked(screen):
    await picker(screen)
    await screen.until(lambda: not screen.app.screen.is_looking, "the search ends")


def rows(screen) -> list[str]:
    """The rows of the list, without their marks."""
    return [str(option.prompt).strip() for option in screen.app.screen.options.options]


def highlighted(screen) -> str:
    option = screen.app.screen.options.highlighted_option
    return str(option.prompt).split()[0] if option is not None else ""


async def test_enter_opens_a_found_model(start, offers):
    offers("steady", demo=("wide",))
    async with start(remembered=True) as screen:
        await looked(screen)
        assert rows(screen) == [
            "Models found",
            "steady  Rogue · steady",
            "Demo",
            "demo  two small models side by side, for a first try",
            "demo-wide  Rogue",
        ]
        assert "Pick an engine to chat with: enter opens it." in screen.text
        await screen.press("enter")
        await screen.ask("hi")
        await screen.answered()
        assert [lane.engine.definition.name for lane in screen.lanes] == ["steady"]


async def test_ticked_models_are_opened_side_by_side_and_saved(start, offers):
    offers("many", "steady", "wide")
    async with start(remembered=True) as screen:
        await looked(screen)
        await screen.press("tab", "tab")
        assert [row.split()[0] for row in rows(screen)[1:4]] == ["✓", "✓", "wide"]
        assert "Enter opens 2 engines side by side, and saves new ones." in screen.text
        await screen.press(
            "up", "up", "tab", "enter"
        )  # the first one no longer; the highlighted one is not ticked
        await screen.ask("hi")
        await screen.answered()
        assert [lane.engine.definition.name for lane in screen.lanes] == ["steady"]
        await screen.press("f3")
        await looked(screen)
        assert [row.split()[0] for row in rows(screen)[:2]] == ["Added", "steady"]
        await screen.press("down", "tab", "tab", "enter")
        await screen.until(lambda: len(screen.lanes) == 3)
        assert [lane.engine.definition.name for lane in screen.lanes] == ["steady", "many", "wide"]
    assert "steady" in State(state_file()).saved.engines


async def test_enter_opens_the_demo_if_no_model_is_found(start, offers):
    offers(demo=("steady", "wide"))
    async with start(remembered=True) as screen:
        await looked(screen)
        assert highlighted(screen) == "demo"
        await screen.press("enter")
        await screen.ask("hi")
        await screen.answered()
        assert [lane.state for lane in screen.lanes] == ["done", "done"]
        await screen.press("ctrl+q")
    assert State(state_file()).saved.lanes == ("demo-steady", "demo-wide")
    async with start(remembered=True) as screen:
        assert [lane.name for lane in screen.lanes] == ["demo-steady", "demo-wide"]
        await screen.until(lambda: "Resumed" in screen.told, "with the conversation")


async def test_the_demo_opens_only_as_many_lanes_as_fit(start, offers):
    offers(demo=("steady", "wide"))
    async with start(*(rogue("steady", f"n{number}") for number in range(5)), size=(200, 40)) as screen:
        await screen.press("f4")
        await looked(screen)
        assert [row.split()[0] for row in rows(screen)][:3] == ["Demo", "demo-steady", "demo-wide"]
        await screen.press("escape")
        await screen.press("f3")
        await looked(screen)
        await screen.press("enter")
        await screen.until(lambda: len(screen.columns) == 6)


async def test_unusable_entries_come_last_and_show_the_reason(start, offers, monkeypatch):
    reason = f"It needs a library that is not installed in {'/a/long/path' * 8}."

    async def unusable(self, python=None):
        return Probe(usable=False, reason=reason, remedy="Run: paragone env create rogue.")

    monkeypatch.setattr(RogueBackend, "probe", unusable)
    async with start(remembered=True, size=(80, 24)) as screen:
        await looked(screen)
        heading, row = rows(screen)
        assert heading == "Not usable yet"
        assert row.startswith("Rogue  It needs a library")
        assert row.endswith("… Run: paragone env create rogue.")
        assert row in screen.text
        assert highlighted(screen) == ""
        await screen.press("enter")  # nothing is picked
        await screen.press("down")
        assert highlighted(screen) == "Rogue"
        shown = "".join(line.strip("│ ") for line in screen.text.splitlines())
        assert reason.replace(" ", "") in shown.replace(" ", "")
        await screen.press("enter")
        await picker(screen)
        assert not screen.lanes


async def test_a_written_engine_is_saved_once_open_and_can_be_removed(start, offers):
    offers("other")
    async with start(rogue("wide", "first")) as screen:
        await screen.press("f3")
        await picker(screen)
        await screen.type("rogue:steady")
        await screen.press("enter")
        await screen.until(lambda: "steady" in screen.app.engines.config.engines)
        assert config.load().engines == {"steady": ADDED}
        await screen.until(lambda: State(state_file()).saved.lanes == ("rogue:wide", "steady"))
        await screen.press("f3")
        await looked(screen)
        assert rows(screen)[:2] == ["Added here", "steady  rogue · steady"]
        assert highlighted(screen) == "steady"
        assert "^x removes steady from this list." in screen.text
        for _ in range(2):  # a model that was found is not removed
            await screen.press("ctrl+x")
            await looked(screen)
            assert rows(screen) == ["Models found", "other  Rogue · other"]
        assert config.load().engines == {}
        await screen.press("escape", "f4")
        await picker(screen)
        await screen.type("rogue:threads")
        await screen.press("enter")
        await screen.until(lambda: "threads" in screen.app.engines.config.engines, "it is put into a lane")
        await screen.press("f3")
        await picker(screen)
        await screen.type("rogue:nothing")
        await screen.press("enter")
        await screen.until(lambda: len(screen.lanes) == 3 and screen.lanes[2].state == "failed")
        assert [*screen.app.engines.config.engines] == ["threads"]


async def test_a_state_file_that_cannot_be_written_is_reported(start, monkeypatch):
    def full(self, saved):
        raise ParagoneError("No space is left.")

    State(state_file()).save_engine(ADDED)
    monkeypatch.setattr(State, "_write", full)
    async with start(rogue("wide", "first")) as screen:
        await screen.press("f3")
        await picker(screen)
        await screen.type("rogue:threads")
        await screen.press("enter")
        await screen.until(lambda: "No space is left." in screen.told)
        assert screen.lanes[1].engine.is_open
        await screen.press("f3")
        await looked(screen)
        await screen.press("ctrl+x")
        assert "steady  rogue · steady" in rows(screen)


async def test_the_highlight_moves_off_an_entry_that_becomes_unusable(start, monkeypatch):
    replied = threading.Event()

    async def slow(self, python=None):
        while not replied.is_set():  # it is asked on an event loop of its own
            await asyncio.sleep(0.001)
        return Probe(usable=python is None, reason="It is gone.")

    monkeypatch.setattr(RogueBackend, "probe", slow)
    engine = "[engines.{}]\nbackend = 'rogue'\nmodel = 'steady'\n"
    settings = f"{engine.format('a')}python = '/gone'\n{engine.format('b')}{engine.format('c')}"
    async with start(rogue("wide", "first"), settings=settings) as screen:
        await screen.press("f3")
        await screen.until(lambda: highlighted(screen) == "a")
        await screen.press("down")  # waits for the whole list
        assert highlighted(screen) == "a"
        replied.set()
        await looked(screen)
        await screen.until(lambda: highlighted(screen) == "c")
        assert [row.split()[0] for row in rows(screen)] == ["In", "b", "c", "Not", "a"]


async def estimated(screen):
    await looked(screen)
    await screen.until(lambda: not screen.app.screen._estimated, "the memory is estimated")


async def test_the_memory_of_the_highlighted_model_is_shown_or_why_it_is_unknown(start, offers):
    offers("steady", "wide", "zero")
    async with start(remembered=True) as screen:
        await looked(screen)
        await screen.until(lambda: "Estimating the memory …" in screen.text or "Needs" in screen.text)
        await estimated(screen)
        # the double does not say how much is free
        told = "Needs 1 MB (weights 1 MB, KV cache 66 kB, compute 66 kB)."
        assert told in screen.text
        await screen.press("down")
        assert highlighted(screen) == "wide"
        assert told not in screen.text
        await estimated(screen)
        assert told in screen.text
        await screen.press("up")
        assert told in screen.text  # it is not estimated again
        await screen.press("down", "down")
        assert highlighted(screen) == "zero"
        await estimated(screen)
        assert "The memory cannot be estimated: There is no model 'zero'." in screen.text


async def test_an_estimate_is_cancelled_when_the_highlight_moves_or_the_picker_closes(
    start, offers, monkeypatch
):
    asked, cancelled = [], []

    async def endless(self, request):
        asked.append(request.model)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(request.model)
            raise

    monkeypatch.setattr(RogueBackend, "estimate", endless)
    offers("steady", "wide")
    async with start(rogue("steady", "first")) as screen:
        await screen.press("f3")
        await looked(screen)
        await screen.until(lambda: asked == ["steady"])
        await screen.press("down")
        await screen.until(lambda: asked == ["steady", "wide"])
        assert cancelled == ["steady"]
        await screen.press("escape")
        await screen.until(lambda: cancelled == ["steady", "wide"])


async def test_a_model_whose_name_is_not_utf8_is_listed_with_the_reason(start, offers):
    """Linux allows such file names. The model could be neither sent to its process nor saved."""
    offers(os.fsdecode(b"/models/caf\xe9.gguf"), "steady")
    async with start() as screen:
        await looked(screen)
        await screen.type("caf")
        await screen.until(lambda: "caf�" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: "not UTF-8 text" in screen.text)
        assert screen.lanes == []
        await screen.press(*["backspace"] * 3)
        await screen.type("steady")
        await screen.press("enter")
        await screen.until(lambda: [lane.state for lane in screen.lanes] == ["ready"])
