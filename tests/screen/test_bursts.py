"""Keys that are typed fast have the same effect as the same keys typed slowly, on every screen."""

import asyncio
import contextlib
import itertools
import os
import random
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from rogue_backend.definitions import rogue
from rogue_backend.plugin import RogueBackend
from tests.screen.conftest import Screen
from textual import events
from textual.widgets import Input, OptionList, Static, TextArea

from paragone import ModelInfo
from paragone_tui.screens import engine_picker
from paragone_tui.terminal.driver import TICK_S, KeyParser
from paragone_tui.widgets.fields import Confirmation
from paragone_workbench import catalog
from paragone_workbench.experiments import voting as ballots
from paragone_workbench.store.saving import History

SENT = {"←": "\x1b[D", "↓": "\x1b[B", "↑": "\x1b[A", "⌫": "\x7f"}
"""What a terminal sends for keys that are no characters."""
DRAWN = int(os.environ.get("BURSTS", "1"))
"""Number of sequences that are drawn for each screen. With more than one, they are also typed at two speeds."""
SPEEDS = (None, 0.0) if DRAWN == 1 else (None, 0.0, 0.03, 0.3)
"""Seconds between two keys; None to wait until a key has taken effect, 0 for one burst."""
EDITING = "heo⌫llo\x01\x0bby←e\x15hi\x05!"
"""Keys that edit a text, among its characters."""
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
    """A screen, and the keys that are drawn for it."""

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


async def blind_writing(screen: Screen) -> None:
    await screen.press("alt+u")
    await screen.ask("for a vote")
    await screen.until(lambda: "Read on" in screen.text)


async def queued(screen: Screen) -> None:
    for text in ("first", "second one", "third one"):
        await screen.ask(text)
    await screen.until(lambda: all(lane.state == "writing" for lane in screen.lanes))
    await screen.press("escape")


CASES = {
    "history": Case(
        ("ctrl+o",),
        "xyujkprtd/\t\r\x1bwae⌫",
        earlier=("whales", "birds of prey", "elder trees"),
        sequences=("\txx", "elder\txyu", "\tjxx\x1b", "whales\x18", "\tjr\x15new\r\x1biok", "\ttsea\rp"),
    ),
    # No `u` is drawn: at 0.3 s, a vote's question could come before a letter that is typed before it in a burst.
    "program": Case(
        ("escape",),
        "/aoTQS?:eilx\r\t\x1b↓jk=[",
        earlier=("whales", "birds of prey", "elder trees"),
        sequences=(
            "/elder\riok",
            "amodel-a\riok",
            "i\x12whales\rtext",
            "i\x1b?qj",
            "ione two\x1b\rx\x1b⌫y",
            f"i{EDITING}",
            f"a{EDITING}",
        ),
    ),
    "settings": Case(("alt+o",), "57↓↑\t\r\x1b⌫w", sequences=("↓↓5\r", EDITING, f"↑{EDITING}", "7/xe⌫")),
    "picker": Case(("f3",), "abt\r\x1b↓↑\t⌫", sequences=("beta\ri",)),
    "palette": Case(("ctrl+p",), "zlm\r\x1b↓↑⌫q", sequences=("settings\r5\r",)),
    # No enter is drawn: it could send a prompt, and the question could come before or after the keys that follow.
    "vote": Case((), "abtxsujq\x1bi", prepare=blind, sequences=("aubx\x1bi", "a\rhello")),
    "answers": Case(
        (),
        "abhi\r\x1bsxj⌫q",
        prepare=blind_writing,
        options={"rate": 20, "max_tokens": 10**6},
        sequences=("hello\rab\x1bji!", "a b\x1bsi"),
    ),
    "lanes": Case(("escape",), "jklhz=b[]X?i\r\t\x1bpeTL", prompts=("one", "two"), sequences=("XX",)),
    "help": Case(("f1",), "jkdugGq?\r\x1b/i", sequences=("qi?",)),
    # No `o` is drawn: settings that a sequence changes would let the answers of later ones end after some seconds.
    "queue": Case(
        (),
        "Q\r\x1b↓↑st⌫",
        prepare=queued,
        options={"rate": 20, "max_tokens": 10**6},
        sequences=("Qsecond\r!", "srj"),
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


async def type_keys(screen: Screen, keys: str, pause: float | None) -> None:
    """Send keys as a terminal does, with this pause between two of them."""
    parser = KeyParser()
    for piece in [keys] if pause == 0 else keys:
        sent = "".join(SENT.get(key, key) for key in piece)
        messages = [*parser.feed(sent.encode())]
        for message in messages if pause and pause < TICK_S else [*messages, *parser.tick()]:
            screen.app.post_message(message)
        await (rest(screen) if pause is None else asyncio.sleep(pause))
    for message in parser.tick():
        screen.app.post_message(message)
    await rest(screen)


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
        "question": [str(it.content) for it in app.screen.query("#question Static").results(Static)],
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
        "answers": [len(lane.path) for lane in screen.lanes],
        "variants": [len(lane.record.runs) for lane in screen.lanes],
        "theme": app.theme,
        "stored": stored,
        "votes": votes,
    }


async def begin_anew(screen: Screen) -> None:
    """Close all screens over the lanes, stop the answers, and begin a conversation without prompts that wait."""
    lanes = screen.app.lanes
    while screen.app.screen is not lanes:
        await screen.press("y" if isinstance(screen.app.screen, Confirmation) else "escape")
        await rest(screen)
    await lanes.session.stop()
    await screen.press("i", "ctrl+n")
    await rest(screen)
    lanes.composer.put("")
    if lanes.is_blind:
        await screen.press("alt+u", "i")


async def run(start, case: Case, sequences: Sequence[str], pause: float | None) -> list[dict[str, object]]:
    """Type sequences in one program, each on a screen that is opened for it. Returns the state after each."""
    engines = [rogue("steady", name, **case.options) for name in ("one", "two")]
    ends: list[dict[str, object]] = []
    async with start(*engines, settings=CONFIG, size=(80, 20)) as screen:
        await screen.until(lambda: all(lane.engine.is_open for lane in screen.lanes))
        for text in case.prompts:
            await screen.ask(text)
            await screen.answered()
        for keys in sequences:
            if case.prepare is not None:
                if ends:
                    await begin_anew(screen)
                await case.prepare(screen)
            for key in case.opening:
                screen.app.post_message(events.Key(key, None))
                await rest(screen)
            await rest(screen)
            await type_keys(screen, keys, pause)
            ends.append(await end_state(screen))
            for _ in screen.app.screen_stack[1:] * 2:  # a form asks before it gives up what was edited
                if screen.app.screen is not screen.app.lanes:
                    await screen.press("escape")
                    await rest(screen)
    return ends


def drawn(name: str) -> list[str]:
    """Return the sequences that are drawn for a screen: the same ones each time."""
    chance = random.Random(name)
    return ["".join(chance.choices(CASES[name].keys, k=8)) for _ in range(DRAWN)]


@pytest.mark.parametrize("name", CASES)
async def test_a_burst_of_keys_has_the_same_effect_as_single_keys(start, tmp_path, monkeypatch, name):
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
    sequences = [*drawn(name), *case.sequences]
    size = 1 if case.prompts else 8  # after one sequence, lanes are closed
    differ = []
    for at in range(0, len(sequences), size):
        ends = []
        for pause in SPEEDS:
            home = tmp_path / f"run{next(number)}"
            shutil.copytree(filled, home / "data")
            for kind in ("CONFIG", "DATA", "CACHE", "STATE"):
                monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
            ends.append(await run(start, case, sequences[at : at + size], pause))
        for keys, slow, *others in zip(sequences[at : at + size], *ends, strict=True):
            for pause, end in zip(SPEEDS[1:], others, strict=True):
                what = {key: (slow[key], end[key]) for key in end if end[key] != slow[key]}
                differ += [f"{keys!r} at {pause} s: {what}"] if what else []
    assert not differ, "\n".join(differ)
