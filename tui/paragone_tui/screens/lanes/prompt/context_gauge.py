"""The gauge above the prompt: how much of the lanes' contexts the prompt would fill, and which messages would not fit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from textual.content import Content

from paragone_tui.terminal.text import bar, one_line

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.prompt.attachments import Draft
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.forecast import Forecast
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.runs.run import Run

_Asked: TypeAlias = "tuple[Draft, Prompt | None, tuple[Run | None, ...]]"
"""A draft, the earlier prompt that it replaces or None, and for each lane the answer that it follows."""

_PAUSE = 0.4
"""Seconds without a key press after which the gauge asks the engines for the number of tokens."""
_CELLS = 6

_EACH = 2
"""Largest number of lanes for which the gauge shows all counts: more do not fit into a usual terminal."""


class ContextGauge:
    """Asks the engines how many tokens the prompt would have, once the user pauses and no engine is answering."""

    def __init__(self, session: Session, on_change: Callable[[], None]) -> None:
        """Create an empty gauge. `on_change` is called when the gauge's content changes."""
        self.content = Content()
        """The text of the gauge; empty while no forecast is known."""
        self._session = session
        self._on_change = on_change
        self._found: Sequence[Forecast] = ()
        self._asking: asyncio.Task[None] | None = None
        self._counting = asyncio.Lock()
        self._asked: _Asked | None = None

    def follow(self, draft: Draft, edited: Prompt | None) -> None:
        """Show how much of the contexts this draft would fill. `edited` is the earlier prompt that the draft replaces."""
        asked = draft, edited, tuple(lane.record.head for lane in self._session.lanes)
        if asked == self._asked:
            return
        self.stop()
        self._found = ()
        self._asked = asked
        if not (draft.typed.strip() or draft.files):
            self._show(())
            return
        self._asking = asyncio.create_task(self._ask(asked))

    def refusal(self, draft: Draft, lanes: Sequence[Lane]) -> str:
        """Return why all of these lanes would refuse this draft; empty if at least one lane may accept it."""
        if self._asked is None or self._asked[0] != draft or not lanes:
            return ""
        refusing = {one.lane: one_line(one.warning) for one in self._found if one.is_refused}
        if not all(lane.name in refusing for lane in lanes):
            return ""
        return ". ".join(refusing[lane.name] for lane in lanes) + "."

    def stop(self) -> None:
        """Stop asking for forecasts, and ignore forecasts that arrive later."""
        self._asked = None
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, asked: _Asked) -> None:
        await asyncio.sleep(_PAUSE)
        await asyncio.gather(*(lane.engine.opened() for lane in self._session.lanes))
        await self._session.answered()
        # A count that has begun continues, and the next count waits for it, because engines cannot cancel counts.
        await asyncio.shield(asyncio.create_task(self._count(asked)))

    async def _count(self, asked: _Asked) -> None:
        from paragone_workbench.lanes.forecast import forecasts

        async with self._counting:
            if asked != self._asked:
                return
            draft, edited, _ = asked
            found = await forecasts(
                self._session, draft.text, files=draft.files, images=draft.images, instead_of=edited
            )
        if asked == self._asked:
            self._show(found)

    def _show(self, found: Sequence[Forecast]) -> None:
        self._found = found
        content = _content(found)
        if content != self.content:
            self.content = content
            self._on_change()


def _content(found: Sequence[Forecast]) -> Content:
    """Return the warnings, the counts of lanes whose context suffices, and a bar of the fullest context.

    If all counts are equal, one count is shown without a lane. For many lanes, only the fullest lane's count is shown.
    """
    if not found:
        return Content()
    warnings = [Content.styled(one_line(one.warning), "$text-warning") for one in found if one.warning]
    fitting = [one for one in found if not one.is_refused]
    counts = {one.lane: f"{one.tokens:,} of {one.context:,}" for one in fitting}
    counts_shown = [f"{one_line(lane)} {count}" for lane, count in counts.items()]
    if len(fitting) > _EACH:
        fullest_lane = max(fitting, key=lambda one: one.tokens / one.context).lane
        counts_shown = [f"fullest: {one_line(fullest_lane)} {counts[fullest_lane]}"]
    if len(found) == len(counts) and len({*counts.values()}) == 1:
        counts_shown = [*counts.values()][:1]
    added = {one.added for one in fitting}
    more = next(iter(added)) if len(added) == 1 else None
    gauge = (
        f"{'' if more is None else f'{more:,} more, '}{', '.join(counts_shown)} tokens "
        if counts_shown
        else ""
    )
    fullest = max(min(1, one.tokens / one.context) for one in found)
    filled = bar(fullest, _CELLS)
    return Content(" · ").join([*warnings, Content(f"{gauge}{filled}{'░' * (_CELLS - len(filled))}")])
