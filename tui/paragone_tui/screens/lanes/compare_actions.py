"""Actions that compare lanes: differences, the reference lane, heat, and the divergence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from paragone_tui.screens.lanes.layout import LanesLayout

if TYPE_CHECKING:
    from paragone_tui.screens.divergence.screen import Side
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.lanes.lane import Lane

__all__ = ["CompareActions"]


class CompareActions(LanesLayout):
    """Adds the actions that compare lanes to the screen."""

    def action_toggle_differences(self) -> None:
        """Turn the marking of differences from the reference lane on or off."""
        shown = self.differences.toggle()
        self.lay_out_lanes()
        self.app.say(
            "Words that differ from the lane with ◆ are underlined."
            if shown
            else f"Differences are not marked; {self.key_of('toggle-differences')} marks them again."
        )

    def action_reference_lane(self) -> None:
        """Make the current lane the one that the others are compared with."""
        if column := self.current_or_say():
            self.differences.compare_with(column.lane)
            self.lay_out_lanes()

    def action_toggle_heat(self) -> None:
        """Turn the colouring of the current lane by the probabilities of its tokens on or off."""
        column = self.current_or_say()
        if column is None:
            return
        if not self.differences.toggle_heat(column.lane):
            self.app.say("The probabilities of the tokens are hidden.")
        elif not column.lane.engine.capabilities.logprobs:
            self.app.say("This lane's engine does not report the probabilities of its tokens.")
        elif any(run.result.tokens for run in column.lane.path):
            self.app.say(
                "Plain: 90% or more. Green italic: 50% to 90%. Yellow bold: 10% to 50%. Red reversed: less."
            )
        else:
            self._keep_tokens()

    def _keep_tokens(self) -> None:
        self.session.tokens.wanted = True
        self.app.say(
            "The probabilities of tokens are kept from the next answer on; "
            f"{self.key_of('regenerate')} answers again."
        )

    def action_divergence(self) -> None:
        """Show where the current lane's answer parts from that of the reference lane, and how sure each was."""
        column = self.current_or_say()
        if column is None:
            return
        if len(self.columns) < 2:
            self.app.say(f"There is nothing to compare with; {self.key_of('add-lane')} adds a lane.")
        elif not self.is_answering(self.session.lanes):
            self.do(lambda: self._show_divergence(column))

    async def _show_divergence(self, column: LaneColumn) -> None:
        from paragone_tui.screens.divergence.screen import DivergenceSheet
        from paragone_workbench.compare.divergence import Divergence

        await asyncio.gather(*(it.lane.engine.vocabulary() for it in self.columns))
        sides = self._sides(column.lane)
        if sides is None:
            self.app.say("The lanes have not answered the same prompt yet.")
            return
        reference, *candidates = sides
        parted = [side for side in candidates if side.parting != Divergence()]
        if not parted:
            self.app.say("The answers to the last prompt do not differ.")
            return
        if any(side.run.spec is None or side.run.spec.logprobs is None for side in sides):
            self.session.tokens.wanted = True  # so that the view has more to show for the next answers
        current = next((side for side in parted if side.run in column.lane.path), None)
        first = current or min(parted, key=lambda side: (side.parting and side.parting.char) or 0)
        others = [side for side in candidates if side is not first]
        self.app.push_screen(DivergenceSheet(reference, first, others))

    def _sides(self, current: Lane) -> list[Side] | None:
        """Return the answers to the last prompt that the current lane and the reference have answered.

        The reference's answer is the first. Returns None if there is none to compare it with.
        """
        from paragone_tui.screens.divergence.screen import Side

        reference = self.differences.reference
        if reference is None:
            return None
        lanes = [column.lane for column in self.columns if column.lane is not reference]
        for run in reversed(reference.path):
            prompt = run.prompt
            if prompt is None:
                continue
            compared = [lane for lane in lanes if self.differences.parting(prompt, lane) is not None]
            if current in compared or (current is reference and compared):
                answers = [(lane, lane.answer(prompt)) for lane in compared]
                return [Side(name=reference.name, run=run, parting=None)] + [
                    Side(name=lane.name, run=answer, parting=self.differences.parting(prompt, lane))
                    for lane, answer in answers
                    if answer is not None
                ]
        return None
