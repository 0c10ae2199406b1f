"""Commands that compare lanes: differences, the reference lane, heat, the divergence, and parity."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.screens.divergence.screen import Side
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.lanes.lane import Lane

__all__ = ["CompareCommands"]


class CompareCommands:
    """Marks differences between the lanes, and shows their parity and where their answers part."""

    def __init__(self, context: LanesContext) -> None:
        self._context = context
        self._session = context.session
        self._differences = context.lanes.differences

    def toggle_differences(self) -> None:
        """Turn the marking of differences from the reference lane on or off."""
        shown = self._differences.toggle()
        self._context.lanes.lay_out()
        self._context.say(
            "Words that differ from the lane with ◆ are underlined."
            if shown
            else f"Differences are not marked; {self._context.key_of('toggle-differences')} marks them again."
        )

    def reference_lane(self) -> None:
        """Make the current lane the one that the others are compared with."""
        if column := self._context.current_or_say():
            self._differences.compare_with(column.lane)
            self._context.lanes.lay_out()

    def toggle_heat(self) -> None:
        """Turn the colouring of the current lane by the probabilities of its tokens on or off."""
        column = self._context.current_or_say()
        if column is None:
            return
        if not self._differences.toggle_heat(column.lane):
            self._context.say("The probabilities of the tokens are hidden.")
        elif not column.lane.engine.capabilities.logprobs:
            self._context.say("This lane's engine does not report the probabilities of its tokens.")
        elif any(run.result.tokens for run in column.lane.path):
            self._context.say(
                "Plain: 90% or more. Green italic: 50% to 90%. Yellow bold: 10% to 50%. Red reversed: less."
            )
        else:
            self._keep_tokens()

    def _keep_tokens(self) -> None:
        self._session.wants_tokens = True
        self._context.say(
            "The probabilities of tokens are kept from the next answer on; "
            f"{self._context.key_of('regenerate')} answers again."
        )

    def parity(self) -> None:
        """Show whether the lanes answered under the same conditions."""
        from paragone_tui.screens.parity.screen import ParitySheet

        self._context.show(ParitySheet(self._session, self._context.do))

    def divergence(self) -> None:
        """Show where the current lane's answer parts from that of the reference lane, and how sure each was."""
        column = self._context.current_or_say()
        if column is None:
            return
        if len(self._context.lanes.columns) < 2:
            self._context.say(
                f"There is nothing to compare with; {self._context.key_of('add-lane')} adds a lane."
            )
        elif not self._context.is_answering(self._session.lanes):
            self._context.do(lambda: self._show_divergence(column))

    async def _show_divergence(self, column: LaneColumn) -> None:
        from paragone_tui.screens.divergence.screen import DivergenceSheet
        from paragone_workbench.compare.divergence import Divergence

        await asyncio.gather(*(it.lane.engine.vocabulary() for it in self._context.lanes.columns))
        sides = self._sides(column.lane)
        if sides is None:
            self._context.say("The lanes have not answered the same prompt yet.")
            return
        reference, *candidates = sides
        parted = [side for side in candidates if side.parting != Divergence()]
        if not parted:
            self._context.say("The answers to the last prompt do not differ.")
            return
        if any(side.run.spec is None or side.run.spec.logprobs is None for side in sides):
            self._session.wants_tokens = True  # so that the view has more to show for the next answers
        current = next((side for side in parted if side.run in column.lane.path), None)
        first = current or min(parted, key=lambda side: (side.parting and side.parting.char) or 0)
        others = [side for side in candidates if side is not first]
        self._context.show(DivergenceSheet(reference, first, others))

    def _sides(self, current: Lane) -> list[Side] | None:
        """Return the answers to the last prompt that the current lane and the reference have answered.

        The reference's answer is the first. Returns None if there is none to compare it with.
        """
        from paragone_tui.screens.divergence.screen import Side

        reference = self._differences.reference
        if reference is None:
            return None
        lanes = [column.lane for column in self._context.lanes.columns if column.lane is not reference]
        for run in reversed(reference.path):
            prompt = run.prompt
            if prompt is None:
                continue
            compared = [lane for lane in lanes if self._differences.parting(prompt, lane) is not None]
            if current in compared or (current is reference and compared):
                answers = [(lane, lane.answer(prompt)) for lane in compared]
                return [Side(name=reference.name, run=run, parting=None)] + [
                    Side(name=lane.name, run=answer, parting=self._differences.parting(prompt, lane))
                    for lane, answer in answers
                    if answer is not None
                ]
        return None
