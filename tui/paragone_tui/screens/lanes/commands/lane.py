"""Commands on the current lane and its last answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext

__all__ = ["LaneCommands"]


class LaneCommands:
    """Stops, repeats, copies and describes what the current lane answers."""

    def __init__(self, context: LanesContext, copy: Callable[[str], None]) -> None:
        """Create the commands. `copy` copies a text to the clipboard."""
        self._context = context
        self._session = context.session
        self._copy = copy

    def stop_lane(self) -> None:
        """Stop the answers of the current lane."""
        if column := self._context.current_or_say():
            self._context.do(column.lane.stop)

    def regenerate(self) -> None:
        """Have the current lane answer the last prompt again."""
        column = self._context.current_or_say()
        if column is None or self._context.lane_is_answering(column.lane):
            return
        if self._session.regenerate(column.lane) is None:
            self._context.say(
                "There is no prompt yet."
                if not self._session.prompts
                else f"This lane's engine is not running; {self._context.key_of('restart-engine')} starts it."
            )

    def copy_answer(self) -> None:
        """Copy the last answer of the current lane to the clipboard."""
        column = self._context.current_or_say()
        if column is None:
            return
        text = column.lane.last_answer
        if not text:
            self._context.say("There is no answer to copy yet.")
            return
        self._copy(text)
        self._context.say(f"Copied {len(text):,} characters.")

    def about_lane(self) -> None:
        """Show the details of the current lane's engine."""
        column = self._context.current_or_say()
        if column is not None:
            from paragone_tui.screens.about_sheet import AboutLane

            self._context.show(AboutLane(column.lane))
