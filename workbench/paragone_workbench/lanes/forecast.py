"""Forecast how a prompt would fit into the contexts of the lanes, by the engines' own token counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone.texts import counted
from paragone_workbench.conversation.tree import Prompt, with_sections
from paragone_workbench.engines.engine import EngineStopped
from paragone_workbench.runs.context import fitted_to, messages_for, oldest

if TYPE_CHECKING:
    from paragone import Image
    from paragone_workbench.conversation.tree import AttachedFile
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The size of the prompt that a lane's engine would get."""

    lane: str
    tokens: int
    """Number of tokens of the prompt, including the conversation before it."""
    context: int
    left_out: int
    """Number of the oldest messages that would be dropped."""
    added: int | None = None
    """Tokens beyond the last run's prompt and answer; None for a first prompt, if messages were dropped, or if unknown."""

    @property
    def is_refused(self) -> bool:
        """Whether the prompt leaves no room for an answer, so that the engine refuses it."""
        return self.tokens >= self.context

    @property
    def warning(self) -> str:
        """A warning that the engine will refuse the prompt or that messages will be dropped; empty otherwise."""
        if self.is_refused:
            return f"{self.lane} will refuse: {counted(self.tokens, 'token')}, its context holds {self.context:,}"
        return f"{self.lane} will drop {oldest(self.left_out)}" if self.left_out else ""


async def forecasts(
    session: Session,
    text: str,
    *,
    files: Sequence[AttachedFile] = (),
    images: Sequence[Image] = (),
    instead_of: Prompt | None = None,
) -> tuple[Forecast, ...]:
    """Return how a prompt would fit into the context of each lane whose engine is free and counts tokens.
    `instead_of` is the prompt that it would replace, if any."""
    whole = with_sections(text, files)
    found = [_forecast(session, lane, whole, tuple(images), instead_of) for lane in session.lanes]
    return tuple(forecast for forecast in await asyncio.gather(*found) if forecast is not None)


async def _forecast(
    session: Session, lane: Lane, text: str, images: tuple[Image, ...], instead_of: Prompt | None
) -> Forecast | None:
    handle, continues = lane.engine, lane.record.head
    if instead_of is not None:
        replaced = lane.answer(instead_of)
        if replaced is None:
            return None
        continues = replaced.continues
    loaded = handle.loaded
    if session.is_busy or loaded is None or loaded.context is None:
        return None
    if not handle.capabilities.tokenize:
        return None
    parent = None if continues is None else continues.prompt
    system = session.system_prompt.of_new_prompt(parent)
    prompt = Prompt(text=text, images=images, parent=parent, system=system)
    messages = messages_for(prompt, continues)
    options, sampling = handle.context_options, {**handle.sampling, **prompt.active_sampling}
    try:
        fitted = await handle.use(lambda opened: fitted_to(opened, messages, options, sampling))
    except EngineStopped:  # the engine was closed meanwhile
        return None
    if fitted.tokens is None:
        return None
    before = None if continues is None else continues.result.metrics
    added = None
    if before is not None and before.prompt_tokens is not None and not fitted.left_out:
        added = fitted.tokens - before.prompt_tokens - before.completion_tokens
    return Forecast(
        lane=lane.name,
        tokens=fitted.tokens,
        context=loaded.context,
        left_out=fitted.left_out,
        added=added if added is not None and added > 0 else None,
    )
