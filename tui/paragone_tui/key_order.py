"""Makes keys that arrive in one burst take effect in their order, even if a key moves the focus or opens a dialog."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Protocol, runtime_checkable

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

from paragone_tui.keys import sign, with_alt, without_alt

LONGEST_S = 1.0
"""Seconds that the effect of a key may take before the keys that wait for this effect are handled at once."""
OPENING_S = 10.0
"""Seconds that a screen which a key has opened may take to show its fields."""
_CONTROLS = {"enter": "\r", "tab": "\t"}
"""The control characters of keys. For such a key with Alt, a terminal sends an escape and the control character."""
_PASSES = 5
"""Largest number of waits for the widgets' messages after a key: each message can cause more messages."""


@runtime_checkable
class Field(Protocol):
    """A widget that the user writes text in."""

    @property
    def has_text(self) -> bool:
        """Whether the field has text. In a field with text, characters are text, not commands."""

    @property
    def own_keys(self) -> Container[str]:
        """The keys of characters with Alt that the field itself uses, such as `alt+Q`."""


class KeyOrder:
    """Hands each key to the application once the keys before it have taken effect.

    Textual forwards each key to the widget that has the focus when the key arrives. Bindings, which may move the focus or
    open a dialog, run later, once the key has passed through the widgets' queues. So without this class, all keys of a
    burst would go to the widget that had the focus at the first key.

    Alt with a character is handled as Escape and the character, unless the key is one of the field's `own_keys`.
    """

    def __init__(self, app: App[None], handle: Callable[[events.Event], Awaitable[None]]) -> None:
        """Create the order of keys. `handle` forwards a key or a paste to the widget that has the focus."""
        self._app = app
        self._handle = handle
        self._waiting: deque[events.Event] = deque()
        self._task: asyncio.Task[None] | None = None

    async def take(self, event: events.Event) -> None:
        """Handle a key or a paste: now, or after the earlier keys that have not taken effect yet."""
        self._waiting.append(event)
        if self._is_idle and (nodes := await self._handle_next()):
            self._task = asyncio.create_task(self._handle_waiting(nodes))

    def then(self, call: Callable[[], object]) -> None:
        """Call a function once all keys that have arrived so far have taken effect."""
        if self._task is None or self._is_idle:
            call()
        else:
            self._task.add_done_callback(lambda _: call())

    @property
    def _is_idle(self) -> bool:
        return self._task is None or self._task.done()

    async def _handle_next(self) -> Sequence[MessagePump]:
        """Handle waiting keys up to the first key that writes no text, and return the widgets that this key passes through.

        The result is empty if only keys that write text wait.
        """
        while self._waiting:
            event = self._waiting.popleft()
            target = self._app.focused or self._app.screen
            if isinstance(event, events.Key) and not (
                isinstance(target, Field) and with_alt(event.key) in target.own_keys
            ):
                event, *then = _without_alt(event)
                self._waiting.extendleft(then)
            is_text = isinstance(target, Field) and target.has_text and _is_text(event)
            nodes = [node for node in target.ancestors_with_self if isinstance(node, MessagePump)]
            await self._handle(event)
            if not is_text:
                return nodes
        return []

    async def _handle_waiting(self, nodes: Sequence[MessagePump]) -> None:
        """Wait for the effect of the last key, and handle the keys that arrived meanwhile."""
        try:
            while nodes or self._waiting:  # keys may arrive until this task has ended
                try:
                    async with asyncio.timeout(LONGEST_S):
                        await self._wait_for_effect(nodes)
                except TimeoutError:
                    await self._wait_for_screen(nodes)
                nodes = await self._handle_next_as_message()
        except TimeoutError:
            while self._waiting:
                await self._handle_next_as_message()

    async def _wait_for_screen(self, nodes: Sequence[MessagePump]) -> None:
        """Wait for the screen that a key has opened. Raises TimeoutError if there is no new screen, or after `OPENING_S`."""
        screen = self._app.screen
        if screen in nodes:
            raise TimeoutError
        async with asyncio.timeout(OPENING_S):
            await _wait_until_handled(screen)

    async def _handle_next_as_message(self) -> Sequence[MessagePump]:
        """Handle the next key in the message queue of the application, as Textual handles all keys."""
        if not self._waiting:
            return []
        handled: asyncio.Future[Sequence[MessagePump]] = asyncio.get_running_loop().create_future()

        async def handle() -> None:
            nodes = await self._handle_next()
            if not handled.done():
                handled.set_result(nodes)

        if not self._app.call_later(handle):  # the application is closing
            self._waiting.clear()
            return []
        return await handled

    async def _wait_for_effect(self, nodes: Sequence[MessagePump]) -> None:
        """Wait until the widgets have handled their messages, and until a screen that the key opened can take keys."""
        for _ in range(_PASSES):
            for node in nodes:
                await _wait_until_handled(node)
            with contextlib.suppress(IndexError):  # all screens are closed
                await _wait_until_handled(self._app.screen)
            if not any(node.message_queue_size for node in nodes):
                return


def _without_alt(key: events.Key) -> Sequence[events.Key]:
    """Split Alt with a character, Enter or Tab into two keys: Escape, and the key without Alt. Do not split other keys.

    Terminals send the same bytes for Alt with a character as for Escape and the character. After Escape, tmux waits half a
    second for the character.
    """
    name = without_alt(key.key)
    if name == key.key:  # a sign such as `?`, whose key is called `question_mark`
        name = key.key.removeprefix("alt+")
    character = key.character or _character(name)
    if name == key.key or not character:
        return [key]
    return [events.Key("escape", "\x1b"), events.Key(name, character)]


def _character(name: str) -> str:
    """Return the character of the key with this name; empty if the key has no character."""
    return _CONTROLS.get(name, name) if len(name) == 1 or name in _CONTROLS else sign(name)


def _is_text(event: events.Event) -> bool:
    return isinstance(event, events.Paste) or (isinstance(event, events.Key) and event.is_printable)


async def _wait_until_handled(node: MessagePump) -> None:
    """Wait until a widget has handled the messages that are in its queue now."""
    done = asyncio.Event()
    if node.call_later(done.set):
        await done.wait()
