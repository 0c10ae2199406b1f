"""Makes keys that are typed fast have the same effect as keys typed slowly: a key waits until the previous key has
taken effect."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Container, Sequence
from weakref import WeakSet

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message_pump import MessagePump
from textual.widgets import Input, TextArea

from paragone_tui.keys import key_symbol, without_alt
from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen

ACT = "act"
"""The group of a screen's workers that all later keys on the screen wait for."""
LIST = "list"
"""The group of a screen's workers that list options: only text and the screen's `early_keys` do not wait for them."""
LONGEST_S = 60.0
"""Seconds that a key waits at most for the effect of the previous key. A busy machine may take tens of seconds to
list engines."""
URGENT_S = 0.25
"""Seconds that an urgent key, such as the key that stops answers, and the keys before it wait at most."""
_CONTROLS = {"backspace": "\x7f", "enter": "\r", "tab": "\t"}
"""The control characters of keys. For such a key with Alt, a terminal sends an escape and the control character."""
_PASSES = 20
"""Largest number of waits for the widgets' messages after a key: each message can cause more messages."""


class KeyOrder:
    """Passes each key to the application once the keys before it have taken effect.

    Textual forwards each key to the widget that has the focus when the key arrives; bindings, which may move the focus or
    open a dialog, run later. All keys of a burst would therefore go to the widget that had the focus at the first key.

    A key has taken effect once the widgets have handled their messages, and the work that it began is done or has opened
    another screen. Text in a field waits only for keys that do not write text.
    """

    def __init__(
        self,
        app: App[None],
        target: Callable[[], DOMNode],
        handle: Callable[[events.Event], Awaitable[None]],
        works: Callable[[Container[str]], Collection[asyncio.Task[None]]],
        urgent: Container[str] = (),
    ) -> None:
        """`works` returns the unfinished work of the screen in these groups; `urgent` keys wait no longer than `URGENT_S`."""
        self._app = app
        self._target = target
        self._handle = handle
        self._works = works
        self._urgent = urgent
        self._waiting: deque[events.Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        """Set when there may be further work to wait for: after each key, and when another screen is on top."""
        self._limit: asyncio.Timeout | None = None
        """The timeout of the wait in progress; unlimited while no key waits."""
        self._nodes: Sequence[MessagePump] = ()
        """The widgets that the last key has passed through."""
        self._written: object = None
        """The field in which the last keys wrote text; None if the last key did not write text."""
        self._awaited: Collection[MessagePump | asyncio.Task[None]] = ()
        self._left: WeakSet[MessagePump | asyncio.Task[None]] = WeakSet()
        """Work that was not done in time, and widgets with unhandled messages. No key waits for them again."""

    async def take(self, event: events.Event) -> None:
        self._waiting.append(event)
        self.look_again()
        if self.is_idle:
            await self._handle_next()
            self._task = asyncio.create_task(self._handle_waiting())
        elif len(self._waiting) == 1 and self._is_more_text(event):
            await self._handle_next()
        else:
            self._set_limit()

    def look_again(self) -> None:
        """Check again which work the next key has to wait for. Call this when another screen is on top."""
        self._changed.set()

    def then(self, call: Callable[[], object]) -> None:
        if self._task is None or self.is_idle:
            call()
        else:
            self._task.add_done_callback(lambda _: call())

    @property
    def is_idle(self) -> bool:
        return self._task is None or self._task.done()

    async def _handle_next(self) -> None:
        while self._waiting:
            event, *then = _without_alt(self._waiting.popleft())
            target = self._target()
            self._waiting.extendleft(then)
            self._written = target if _is_text(event) and _has_text(target) else None
            self._nodes = [node for node in target.ancestors_with_self if isinstance(node, MessagePump)]
            await self._handle(event)
            if not (self._waiting and self._is_more_text(self._waiting[0])):
                return

    def _is_more_text(self, event: events.Event) -> bool:
        return _is_text(event) and self._written is self._target()

    async def _handle_waiting(self) -> None:
        while True:
            try:
                async with asyncio.timeout(None) as self._limit:
                    self._set_limit()
                    await self._wait_for_effect()
            except TimeoutError:
                self._left.update(self._awaited)
            self._limit = None
            if not self._waiting:
                break
            await self._handle_next_as_message()
        self._nodes, self._awaited, self._written = (), (), None  # frees closed screens

    def _set_limit(self) -> None:
        limit = self._limit
        if limit is None or limit.expired() or not self._waiting:
            return
        is_urgent = any(
            isinstance(event, events.Key) and event.key in self._urgent for event in self._waiting
        )
        end = asyncio.get_running_loop().time() + (URGENT_S if is_urgent else LONGEST_S)
        if (before := limit.when()) is None or end < before:
            limit.reschedule(end)

    async def _handle_next_as_message(self) -> None:
        handled = asyncio.Event()

        async def handle() -> None:
            await self._handle_next()
            handled.set()

        if self._app.call_later(handle):
            await handled.wait()
        else:  # the application is closing
            self._waiting.clear()

    async def _wait_for_effect(self) -> None:
        while True:
            self._changed.clear()
            await self._wait_for_messages()
            works = {work for work in self._works(self._groups) if not work.done() and work not in self._left}
            if not works:
                return
            self._awaited = works
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait({*works, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()

    @property
    def _groups(self) -> Sequence[str]:
        if not (self._waiting and self._app.screen_stack):
            return (ACT, LIST)
        event, *_ = _without_alt(self._waiting[0])
        is_text = _is_text(event) and isinstance(self._target(), Input | TextArea)
        screen = self._app.screen
        early = screen.early_keys if isinstance(screen, ChangedRowsScreen) else ()
        is_early = isinstance(event, events.Key) and event.key in early
        return (ACT,) if is_text or is_early else (ACT, LIST)

    async def _wait_for_messages(self) -> None:
        """Wait until the widgets have handled their messages, and until a screen that the key opened can take keys."""
        for _ in range(_PASSES):
            nodes = [*self._nodes, *self._app.screen_stack[-1:]]
            for node in nodes:
                if node not in self._left:
                    self._awaited = [node]
                    await _wait(node.call_later)
            screen = next(reversed(self._app.screen_stack), None)
            if isinstance(screen, ChangedRowsScreen) and screen.waits_for_refresh:
                self._awaited = [screen]
                await _wait(screen.call_after_refresh)
            elif screen in nodes and not any(node.message_queue_size for node in nodes):
                return


def _without_alt(key: events.Event) -> Sequence[events.Event]:
    """Split Alt with a character, Enter, Tab or Backspace into Escape and the key: terminals send the same for both, and tmux
    waits half a second after Escape."""
    if not isinstance(key, events.Key):
        return [key]
    name = without_alt(key.key)
    if name == key.key:  # a sign such as `?`, whose key is called `question_mark`
        name = key.key.removeprefix("alt+")
    character = key.character or _character(name)
    if name == key.key or not character:
        return [key]
    return [events.Key("escape", "\x1b"), events.Key(name, character)]


def _character(name: str) -> str:
    return _CONTROLS.get(name, name) if len(name) == 1 or name in _CONTROLS else key_symbol(name)


def _has_text(target: DOMNode) -> bool:
    """Return whether characters are text in the focused widget: always in a field of one line, and in others once
    they have text."""
    return isinstance(target, Input) or (isinstance(target, TextArea) and target.document.end != (0, 0))


def _is_text(event: events.Event) -> bool:
    return isinstance(event, events.Paste) or (isinstance(event, events.Key) and event.is_printable)


async def _wait(call_later: Callable[[Callable[[], None]], bool]) -> None:
    done = asyncio.Event()
    if call_later(done.set):
        await done.wait()
