"""Report the settings in force in a run, once and without delaying the run's tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from paragone import Json, Options, ParagoneError, RunSettings
from paragone.options import as_values
from paragone_remote.http.faults import FAULTS
from paragone_remote.http.timeouts import Stopped, Wait

_PATIENCE = 2.0
"""Seconds to wait for the rendered prompt at the end of a run."""


def set_options(sampling: Options) -> dict[str, Json]:
    """Return the values of the options that are set. Other options are not sent: the server has defaults of its own."""
    return {name: value for name, value in as_values(sampling).items() if value is not None and value != []}


class RenderedPrompt(NamedTuple):
    """The rendered prompt, as far as the server reports it."""

    text: str | None = None
    ids: tuple[int, ...] | None = None


AskPrompt: TypeAlias = Callable[[], Awaitable[RenderedPrompt]]
"""Requests a rendered prompt. Raises ParagoneError or the exceptions in `faults.FAULTS`."""


class SettingsReport:
    """Reports the settings of one run.

    The settings are reported with the server's first event. A separate request for the prompt is sent after the
    answer, because an earlier request would delay the tokens: with a cached prompt, it delayed the
    first token by 7 ms on llama-server, and by 60 ms on Ollama.
    """

    def __init__(self, known: Callable[[], RunSettings], ask: AskPrompt | None) -> None:
        """Create the report of a run.

        `known` returns the settings without a request, after the server has accepted the run. `ask` requests the
        rendered prompt.
        """
        self._known = known
        self._ask = ask
        self._accepted: RunSettings | None = None
        self._is_reported = False

    async def due(self, wait: Wait, *, last: bool) -> RunSettings | None:
        """Return the settings if they must be reported before the current event. `last`: whether this event is the last."""
        if self._is_reported:
            return None
        if self._accepted is None:
            self._accepted = self._known()
        if self._ask is not None:
            if not last:
                return None
            prompt = await self._asked(self._ask, wait)
            text = prompt.text if prompt.text is not None else self._accepted.prompt
            self._accepted = dataclasses.replace(self._accepted, prompt=text, prompt_ids=prompt.ids)
        return self.rest()

    def rest(self) -> RunSettings | None:
        """Return the settings of a run that ends now; None if the settings were reported, or if the server never accepted the run."""
        if self._is_reported:
            return None
        self._is_reported = self._accepted is not None
        return self._accepted

    @staticmethod
    async def _asked(ask: AskPrompt, wait: Wait) -> RenderedPrompt:
        """Return the prompt, or an empty prompt if the request fails: the answer is complete without the prompt."""
        try:
            return await wait.within(_PATIENCE, ask())
        except (*FAULTS, Stopped, ParagoneError):
            return RenderedPrompt()
