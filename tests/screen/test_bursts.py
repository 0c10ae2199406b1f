"""Keys that are typed fast have the same effect as the same keys typed slowly, on every screen."""

import asyncio
import contextlib
import itertools
import random
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from rogue_backend.definitions import rogue
from rogue_backend.plugin import RogueBackend
from tests.screen.conftest import Screen
from textual import events
from textual.keys import _character_to_key
from textual.widgets import Input, OptionList, TextArea

from paragone import ModelInfo
from paragone_tui.screens import engine_picker
from paragone_workbench import catalog
from paragone_workbench.experiments import voting as ballots
from paragone_workbench.store.history import History

NAMES = {"\r": "enter", "\t": "tab", "\x1b": "escape", "↓": "down", "↑": "up", "⌫": "backspace"}
CONFIG = """
[engines.alpha]
backend = "rogue"
model = "steady"
[engines.beta]
backend = "rogue"
model = "wide"
[presets.warm]
max_tokens = 3
"""


@dataclass(frozen=True)
class Case:
    """A screen, and the keys that are drawn for it: characters, or the names of keys."""

    opening: tuple[str, ...]
    keys: str
    prompts: tuple[str, ...] = ()
    """The prompts of the conversation that is open."""
    sequences: tuple[str, ...] = ()
    """Sequences that are always tried."""
    earlier: tuple[str, ...] = ()
    """The prompts of earlier conversations, each with one prompt."""
    options: dict[str, int] = field(default_factory=lambda: {"max_tokens": 1})
    prepare: Callable[[Screen], Awaitable[None]] | None = None


async def blind(screen: Screen) -> None:
    await screen.press("alt+u")
    await screen.ask("for a vote")
    await screen.until(lambda: "Which answer is better?" in screen.text)


async def queued(screen: Screen) -> None:
    for text in ("first", "second one", "third one"):
        await screen.ask(text)
    await screen.until(lambda: all(lane.state == "writing" for lane in screen.lanes))
    await screen.press("alt+Q")


CASES = {
    "history": Case(
        ("ctrl+o",),
        "xjkprtd/\t\r\x1bwae⌫",
        earlier=("whales", "birds of prey", "elder trees"),
        sequences=("\txx", "/whales\r\x1b", "\tr!\r\x1bi", "\ttsea\rp"),
    ),
    "settings": Case(("alt+o",), "57↓↑\t\r\x1b⌫w", sequences=("↓↓5\r",)),
    "picker": Case(("f3",), "abt\r\x1b↓↑\t⌫", sequences=("beta\ri",)),
    "palette": Case(("ctrl+p",), "zlm\r\x1b↓↑⌫q", sequences=("settings\r5\r",)),
    "vote": Case((), "abtxsu\rjq\x1bi", prepare=blind, sequences=("aubx\x1bi",)),
    "lanes": Case(("escape",), "jklhz=b[]X?i\r\t\x1bpeTL", prompts=("one", "two"), sequences=("XX",)),
    "help": Case(("f1",), "jkdugGq?\r\x1b/i", sequences=("qi?",)),
    "queue": Case(
        (),
        "\r\x1b↓↑sto⌫",
        prepare=queued,
        options={"rate": 20, "max_tokens": 10**6},
        sequences=("second\r!",),
    ),
}
TURNS = 200
"""Number of turns of the event loop that a slow work takes: more than a burst takes to pass through the widgets."""


@pytest.fixture(autouse=True)
def few_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the rogue backend's engines only, and the last of them late; keep the order of answers in votes."""
    monkeypatch.setattr(
        "paragone_workbench.engines.registry.Registry.all", lambda self: {"rogue": self.find("rogue")}
    )
    names = ("model-b", "model-a")
    monkeypatch.setattr(
        RogueBackend, "find_models", lambda self, folders: [ModelInfo(model=it, name=it) for it in names]
    )
    monkeypatch.setattr(ballots, "shuffled", tuple)
    monkeypatch.setenv("EDITOR", "true")


@pytest.fixture(autouse=True)
def slow_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the history and the search for engines take many turns of the event loop, as on a busy machine."""
    call, look = History.call, catalog.catalog_entries

    async def turns() -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def slow_call(self, *args, **options):
        await turns()
        return await call(self, *args, **options)

    async def slow_look(*args, **options):
        async with contextlib.aclosing(look(*args, **options)) as found:
            async for entries in found:
                yield entries
                await turns()

    monkeypatch.setattr(History, "call", slow_call)
    monkeypatch.setattr(engine_picker, "catalog_entries", slow_look)


async def rest(screen: Screen) -> None:
    """Wait until all that keys have begun is done, whatever the program itself waits for before it handles a key."""
    app = screen.app
    still = 0
    while still < 2:
        await screen.pilot.pause()
        busy = [work for work in app.workers if work.group not in ("typeset", engine_picker._MEMORY)]
        still = 0 if busy or app._saving or not app.key_order.is_idle else still + 1


def event_of(key: str) -> events.Key:
    name = NAMES.get(key) or (_character_to_key(key) if len(key) == 1 else key)
    return events.Key(name, key if len(key) == 1 and key not in "↓↑⌫" else None)


async def end_state(screen: Screen) -> dict[str, object]:
    """What the user sees and what is stored, without times and measured speeds."""
    app = screen.app
    await app.lanes.session.saved()
    focused = app.focused
    lanes = app.lanes.lanes
    options = app.screen.query(OptionList)
    stored = await app.history.call(
        lambda store: [
            (it.number, it.title, it.tags, it.is_pinned, it.prompts) for it in store.conversations(100)
        ]
    )
    votes = await app.history.call(lambda store: [(it.choice, it.blind) for it in store.votes.all()])
    return {
        "screens": [type(it).__name__ for it in app.screen_stack],
        "focus": type(focused).__name__,
        "field": focused.value if isinstance(focused, Input) else getattr(focused, "text", ""),
        "fields": [it.value for it in app.screen.query(Input)]
        + [it.text for it in app.screen.query(TextArea)],
        "highlighted": [it.highlighted for it in options],
        "composer": app.lanes.composer.text,
        "prompt": getattr(app.lanes.composer.editing, "id", "") and "edited",
        "lanes": [lane.name for lane in screen.lanes],
        "lane": (lanes.in_lane_mode, lanes.position, lanes.zoomed, lanes.linked),
        "options": [dict(lane.engine.definition.options) for lane in screen.lanes],
        "queue": [it.text for it in app.lanes.session.queue.prompts],
        "theme": app.theme,
        "stored": stored,
        "votes": votes,
    }


async def run(start, case: Case, sequences: Sequence[str], *, slowly: bool) -> list[dict[str, object]]:
    """Type sequences in one program, each on a screen that is opened for it. Returns the state after each."""
    engines = [rogue("steady", name, **case.options) for name in ("one", "two")]
    ends = []
    async with start(*engines, settings=CONFIG, size=(80, 20)) as screen:
        await screen.until(lambda: all(lane.engine.is_open for lane in screen.lanes))
        for text in case.prompts:
            await screen.ask(text)
            await screen.answered()
        if case.prepare is not None:
            await case.prepare(screen)
        for keys in sequences:
            for key in case.opening:
                screen.app.post_message(events.Key(key, None))
                await rest(screen)
            await rest(screen)
            for key in keys:
                screen.app.post_message(event_of(key))
                if slowly:
                    await rest(screen)
            await rest(screen)
            ends.append(await end_state(screen))
            for _ in screen.app.screen_stack[1:] * 2:  # a form asks before it gives up what was edited
                if screen.app.screen is not screen.app.lanes:
                    await screen.press("escape")
                    await rest(screen)
    return ends


def drawn(name: str) -> str:
    """Return the sequence that is drawn for a screen: the same one each time."""
    return "".join(random.Random(name).choices(CASES[name].keys, k=8))


@pytest.mark.parametrize("name", CASES)
async def test_a_burst_does_the_same_as_its_keys_one_by_one(start, tmp_path, monkeypatch, name):
    case = CASES[name]
    filled = tmp_path / "filled"
    filled.mkdir()
    if case.earlier:
        monkeypatch.setenv("XDG_DATA_HOME", str(filled))
        async with start(
            rogue("steady", "one", max_tokens=1), rogue("steady", "two", max_tokens=1)
        ) as screen:
            for text in case.earlier:
                await screen.ask(text)
                await screen.answered()
                await screen.press("ctrl+n")
    number = itertools.count()
    sequences = [drawn(name), *case.sequences]
    # A vote, a queue and closed lanes are over after one sequence.
    is_over = bool(case.prepare or case.prompts)
    for keys in [[it] for it in sequences] if is_over else [sequences]:
        ends = []
        for slowly in (True, False):
            home = tmp_path / f"run{next(number)}"
            shutil.copytree(filled, home / "data")
            for kind in ("CONFIG", "DATA", "CACHE", "STATE"):
                monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
            ends.append(await run(start, case, keys, slowly=slowly))
        one_by_one, burst = ends
        assert burst == one_by_one, f"{keys} in {name}"
