"""Keys wait for those before them, and none waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

from paragone_tui.key_order import KeyOrder


class Widget(MessagePump):
    """A test double of a field that has text: it has handled each message as soon as it gets it."""

    has_text = True
    own_keys = ()

    @property
    def ancestors_with_self(self):
        return [self]

    def call_later(self, callback, *args, **kwargs) -> bool:
        callback()
        return True


class Application:
    """A test double of the application: the test decides when it handles its messages."""

    def __init__(self) -> None:
        self.focused = Widget()
        self.screen = self.focused
        self.messages: list[Callable[[], Awaitable[None]]] = []

    def call_later(self, message: Callable[[], Awaitable[None]]) -> bool:
        self.messages.append(message)
        return True

    async def handle_message(self) -> None:
        while not self.messages:
            await asyncio.sleep(0)
        await self.messages.pop(0)()


async def test_a_key_that_comes_while_the_last_one_ends_is_handled():
    application = Application()
    handled: list[str] = []

    async def handle(event: events.Event) -> None:
        assert isinstance(event, events.Key)
        handled.append(event.key)

    order = KeyOrder(cast("App[None]", application), handle)
    await order.take(events.Key("escape", "\x1b"))
    await order.take(events.Key("a", "a"))
    await application.handle_message()
    await order.take(events.Key("b", "b"))  # before the order has seen that `a` is handled
    async with asyncio.timeout(10):
        await application.handle_message()
    assert handled == ["escape", "a", "b"]
