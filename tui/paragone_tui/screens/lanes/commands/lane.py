"""Commands on the current lane and its last answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext


def stop_lane(context: LanesContext) -> None:
    """Stop the answers of the current lane; if there are none, stop loading its engine."""
    if column := context.current_or_say():
        if column.lane.is_busy:
            context.do(column.lane.stop)
        else:
            column.lane.engine.stop_opening()


def regenerate(context: LanesContext) -> None:
    """Have the current lane answer the last prompt again."""
    column = context.current_or_say()
    if column is None or context.lane_is_answering(column.lane):
        return
    if context.session.regenerate(column.lane) is None:
        context.say(
            "There is no prompt yet."
            if not context.session.prompts
            else f"This lane's engine is not running; {context.key_of('restart-engine')} starts it."
        )


def copy_answer(context: LanesContext) -> None:
    """Copy the last answer of the current lane to the clipboard."""
    if column := context.current_or_say():
        text = column.lane.last_answer
        if text:
            context.program.copy_to_clipboard(text)
        context.say(f"Copied {len(text):,} characters." if text else "There is no answer to copy yet.")


def about_lane(context: LanesContext) -> None:
    """Show the details of the current lane's engine."""
    if column := context.current_or_say():
        from paragone_tui.screens.about_sheet import AboutLane

        context.show(AboutLane(column.lane))
