"""A simulated user of the program, who types prompts, stops answers, resizes the terminal, and restarts engines."""

import re
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from random import Random

from bench.soak.journal import Journal
from bench.soak.key_times import Echo, KeyTime, measure
from bench.soak.plan import Plan
from bench.terminal import Terminal

COLUMNS, ROWS = 160, 40
_SIZES = ((100, 30), (80, 24), (60, 16), (200, 50))
_STATES = re.compile(
    r"\s(no engine|loading|waiting|reading|writing|no data|ready|done|stopped|failed|crashed)\b"
)
_BUSY = frozenset({"loading", "waiting", "reading", "writing", "no data"})
_GONE = frozenset({"failed", "crashed", "no engine"})
_READY = frozenset({"ready", "done", "stopped"})
_PLACEHOLDER = "Ask "
_WRITING, _LANE_MODE, _BLIND, _QUESTION = "enter send", " LANE ", " Blind vote", "Which answer is better?"
STOP, RESTART, ZOOM, HELP, NEW, HISTORY = "\x03", "\x1b[18~", "\x1bOQ", "\x1bOP", "\x0e", "\x0f"
_PATIENCE_S = 60.0
"""Seconds that a lane may be busy before the person stops all lanes."""
_HOPELESS_S = 240.0
"""Seconds after which an unusable lane is a broken promise of the program."""
_RESTARTING_S = 5.0
"""Seconds that the person waits for a restarted engine before the next restart."""


class Person:
    """Uses one program in a terminal."""

    def __init__(
        self, name: str, plan: Plan, random: Random, terminal: Terminal, echo: Echo, journal: Journal
    ) -> None:
        self.prompts: list[str] = []
        """The prompts that were sent."""
        self.keys: list[KeyTime] = []
        """The time that each typed key took to show."""
        self._name = name
        self._plan = plan
        self._random = random
        self._terminal = terminal
        self._echo = echo
        self._journal = journal
        self._typed = 0
        self._unusable: dict[str, float] = {}
        """The time since which a lane has been `busy` or `gone`, on the monotonic clock."""
        self._restarted = 0.0

    def act(self, end: float) -> None:
        """Pause, at most until `end` on the monotonic clock; then repair the lanes and perform a random action."""
        pause = min(self._random.expovariate(1 / self._plan.pause_s), 4 * self._plan.pause_s)
        self._terminal.read(max(0.1, min(pause, end - time.monotonic())))
        if self._terminal.process.poll() is None:
            self._close_a_late_sheet()
            self._mend()
            self._random.choice(_ACTIONS)(self)

    def sees(self, lanes: int) -> bool:
        """Wait for the status lines of this number of lanes. Returns whether the lines appear within a minute."""
        return self._terminal.wait_for(lambda: len(self._states()) == lanes, 60)

    def ask(self) -> None:
        """Type a prompt, and measure each key."""
        self._typed += 1
        prompt = f"{self._name}.{self._typed} {self._random.choice(_QUESTIONS)}"
        for end in range(1, len(prompt) + 1):
            typed = prompt[:end].replace(" ", "")
            shown = partial(self._is_in_composer, typed)
            key = measure(self._terminal, self._echo, prompt[end - 1], shown)
            if key is None:
                self._wrong(f"the key {prompt[end - 1]!r} was not shown within half a minute")
                self._terminal.send("\x15")
                return
            self.keys.append(key)
            if key.is_late:
                self._journal.note(late_key=asdict(key), screen=self._terminal.text)
            self._terminal.read(self._random.uniform(0.03, 0.2))
        self._terminal.send("\r")
        if self._terminal.wait_for(lambda: _PLACEHOLDER in self._terminal.text, 10):
            self.prompts.append(prompt)
            self._journal.did("sent a prompt", self._name)
        else:  # no engine is running
            self._journal.did("could not send a prompt", self._name)
            self._terminal.send("\x15")

    def stop(self) -> None:
        self._press("stopped all lanes", STOP)

    def regenerate(self) -> None:
        self._press("regenerated an answer", "\x1b[15~")

    def zoom(self) -> None:
        self._press("zoomed", ZOOM)
        self._terminal.read(1)
        self._press("zoomed", ZOOM)

    def read_help(self) -> None:
        self._look("opened the help", HELP, "─ Help ─")

    def look_into_history(self) -> None:
        """Open the history, unless a lane is busy: the history does not open then."""
        if _BUSY.isdisjoint(self._states()):
            self._look("opened the history", HISTORY, "─ Earlier conversations ─")

    def open_a_sheet(self) -> None:
        """Open one of the screens of lane mode. Some of these open only if they have something to show."""
        what, key, title = self._random.choice(_SHEETS)
        self._terminal.send("\x1b" + key)
        if self._terminal.wait_for(lambda: title in self._terminal.text, 5):
            self._journal.did(f"opened {what}", self._name)
            self._look_at(f"opened {what}", title)
        self._write()

    def _close_a_late_sheet(self) -> None:
        """Close a screen that opened after the person had stopped waiting: it would take the keys of the next prompt."""
        for what, _, title in _SHEETS:
            if title in self._terminal.text:
                self._journal.did(f"opened {what}, late", self._name)
                self._look_at(f"opened {what}, late", title)
                self._write()

    def look_for_a_conversation(self) -> None:
        """Search the history, and close the history again."""
        if _BUSY.isdisjoint(self._states()):
            self._terminal.send(HISTORY)
            if self._terminal.wait_for(lambda: "─ Earlier conversations ─" in self._terminal.text, 20):
                self._terminal.send(self._random.choice(("sky", "rivers -ice", "q1.1", "tag:none")))
                self._look_at("searched the history", "─ Earlier conversations ─")

    def vote(self) -> None:
        """Request answers without names, and vote once the answers are complete."""
        if not _READY.issuperset(self._states()) or len(self._states()) < 2:
            return
        self._terminal.send("\x1bu")
        self._write()
        self._typed += 1
        prompt = f"{self._name}.{self._typed} which is better?"
        self._terminal.send(prompt + "\r")
        if not self._terminal.wait_for(lambda: _BLIND in self._terminal.text, 20):
            self._wrong("asked blind, but the answers without names did not come")
            return
        self.prompts.append(prompt)
        vote = ""  # no vote if an engine is gone or frozen
        if self._terminal.wait_for(lambda: _QUESTION in self._terminal.text, 60):
            vote = self._random.choice("abtxs")
            self._press("voted blind", vote)
        # After a skip, the next prompt is blind too. Any other vote leaves the answers on the screen.
        self._press("ended blind voting", "\x1bu" if vote == "s" else "q")
        if self._terminal.wait_for(lambda: _BLIND not in self._terminal.text, 60):
            self._write()
        else:
            self._wrong("a blind vote did not end within a minute")

    def _write(self) -> None:
        """End lane mode, if it is on. The bottom line shows the mode only some time after a dialog is closed."""
        self._terminal.read_until_quiet(0.5, timeout=5)
        self._terminal.wait_for(lambda: _LANE_MODE in self._terminal.lines[-1] or self._writes, 10)
        if not self._writes:
            self._terminal.send("i")
            if not self._terminal.wait_for(lambda: self._writes, 20):
                self._wrong("lane mode did not end within 20 seconds")

    @property
    def _writes(self) -> bool:
        return _WRITING in self._terminal.lines[-1]

    def begin_anew(self) -> None:
        self._press("began a conversation", NEW)

    def resize(self) -> None:
        """Change the terminal's size several times, and back."""
        for columns, rows in (*self._random.sample(_SIZES, 2), (COLUMNS, ROWS)):
            self._terminal.resize(columns, rows)
            self._journal.did("resized the terminal", self._name)
            self._terminal.read(0.4)

    def _look(self, what: str, key: str, title: str) -> None:
        """Open a dialog, look at it for some time, and close it."""
        self._press(what, key)
        if not self._terminal.wait_for(lambda: title in self._terminal.text, 20):
            self._journal.did(f"{what}, which did not come: a lane is busy", self._name)
            return
        self._look_at(what, title)

    def _look_at(self, what: str, title: str) -> None:
        """Look at a dialog for some time, and close it."""
        self._terminal.read(1)
        self._terminal.send("\x1b")
        if not self._terminal.wait_for(lambda: title not in self._terminal.text, 30):
            self._wrong(f"{what}, but it did not close within half a minute")

    def _press(self, what: str, key: str) -> None:
        self._terminal.send(key)
        self._journal.did(what, self._name)
        self._terminal.read(0.5)

    def _mend(self) -> None:
        """Restart engines that are gone, and stop lanes that have been busy for long."""
        now, states = time.monotonic(), self._states()
        for kind, which in (("busy", _BUSY), ("gone", _GONE)):
            if which.isdisjoint(states):
                self._unusable.pop(kind, None)
            else:
                self._unusable.setdefault(kind, now)
        if "gone" in self._unusable and now - self._restarted > _RESTARTING_S:
            self._restarted = now
            self._press("restarted an engine", RESTART)
        if now - self._unusable.get("gone", now) > _HOPELESS_S:
            self._wrong(f"a lane's engine has been gone for {_HOPELESS_S:.0f} s: {', '.join(states)}")
            del self._unusable["gone"]
        if now - self._unusable.get("busy", now) > _PATIENCE_S:
            del self._unusable["busy"]
            self._end_what_is_busy()

    def _end_what_is_busy(self) -> None:
        for what, key in (("stopped all lanes", STOP), ("restarted an engine", RESTART)):
            self._press(what, key)
            if self._terminal.wait_for(lambda: _BUSY.isdisjoint(self._states()), _PATIENCE_S):
                return
        self._wrong(f"a lane is busy long after it was stopped: {', '.join(self._states())}")

    def _states(self) -> list[str]:
        """Return the states of the lanes, as far as the status lines show them."""
        found = (_STATES.search(part) for part in re.split("[▏│]", self._terminal.lines[0]))
        return [state[1] for state in found if state]

    def _is_in_composer(self, typed: str) -> bool:
        """Whether the bottom lines of the screen have a text; blanks are ignored."""
        return typed in "".join("".join(self._terminal.lines[-6:]).split())

    def _wrong(self, what: str) -> None:
        self._journal.found(f"{self._name}: {what}", self._terminal.text)


_SHEETS = (
    ("the settings", "o", "─ Settings of "),
    ("what was not the same", "c", "─ Was it fair? ─"),
    ("the turns", "T", "─ Turns and branches"),
    ("the costs", "$", " cost in this conversation ─"),
    ("the search in the conversation", "S", "─ Find in this conversation ─"),
    ("the contacts", "w", "─ Addresses contacted ─"),
    ("where the answers part", "v", "─ Where "),
    ("the copies", "Y", "─ Copy ─"),
)
"""Screens of lane mode: for each, its name in the journal, its key, and the title in its border."""
_QUESTIONS = ("why is the sky blue?", "name three rivers", "what is ice?", "and then?")
_ACTIONS: tuple[Callable[[Person], None], ...] = (
    *(Person.ask,) * 12,
    *(Person.resize,) * 2,
    Person.stop,
    Person.regenerate,
    Person.zoom,
    Person.read_help,
    Person.look_into_history,
    Person.look_for_a_conversation,
    *(Person.open_a_sheet,) * 4,
    Person.vote,
    *(Person.begin_anew,) * 3,
)
