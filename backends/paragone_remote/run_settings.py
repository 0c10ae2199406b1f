"""Reporting what was in force in a run: once, and without delaying its first token."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
from collections.abc import Callable, Coroutine
from typing import NamedTuple

from paragone import RunSettings

__all__ = ["AskPrompt", "Prompt", "SettingsReport", "draw_seed"]

_LAST_WAIT = 1.0
"""Seconds that the end of a run waits for the rendered prompt."""


class Prompt(NamedTuple):
    """The rendered prompt, as far as the server tells it."""

    text: str | None = None
    ids: tuple[int, ...] | None = None


class AskPrompt(NamedTuple):
    """How to ask for the rendered prompt of a run."""

    ask: Callable[[], Coroutine[None, None, Prompt]]
    beside: bool = True
    """Whether the server answers during the run; otherwise it is asked at its end."""


def draw_seed() -> int:
    """Return a random seed, in the range that `paragone.chat.sampling.with_seed` draws from."""
    return secrets.randbelow(2**32 - 1)


class SettingsReport:
    """The settings of one run, with the prompt, which a request beside the run asks for.

    They are due with the first token. Where the prompt is not known by then, they come with the
    first event after it is, before the last event in any case.
    """

    def __init__(self, settings: Callable[[], RunSettings], prompt: AskPrompt | None) -> None:
        """`settings` returns what is known without a request; what `prompt` asks never raises."""
        self._settings = settings
        self._prompt = prompt
        self._asking: asyncio.Task[Prompt] | None = None
        if prompt is not None and prompt.beside:
            self._asking = asyncio.create_task(prompt.ask())
        self._accepted: RunSettings | None = None
        self._told = False

    async def due(self, *, last: bool) -> RunSettings | None:
        """Return the settings if they are to be reported before the present event of the server's answer."""
        if self._told:
            return None
        if self._accepted is None:
            # only now is it known what of the request the server took
            self._accepted = self._settings()
        if self._asking is None and self._prompt is not None and last:
            self._asking = asyncio.create_task(self._prompt.ask())
        if self._prompt is not None and (self._asking is None or not self._asking.done()):
            if not last or self._asking is None:
                return None
            await asyncio.wait({self._asking}, timeout=_LAST_WAIT)
        return self.rest()

    def rest(self) -> RunSettings | None:
        """Return the settings of a run that ends now, unless they were reported or nothing was answered."""
        if self._told or self._accepted is None:
            return None
        self._told = True
        prompt = Prompt()
        if self._asking is not None and self._asking.done():
            prompt = self._asking.result()
        return dataclasses.replace(self._accepted, prompt=prompt.text, prompt_ids=prompt.ids)

    async def close(self) -> None:
        """Give up what is still asked for."""
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking
