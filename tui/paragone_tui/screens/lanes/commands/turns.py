"""Commands on turns: select a turn, fork a lane after a turn, and show the tree of all turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone_tui.screens.lanes.commands.context import LanesContext, on_current_lane
from paragone_tui.screens.lanes.commands.engines import has_room, show_added
from paragone_workbench.lanes.variants import newest_after

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.runs.run import Run


@on_current_lane
def select(context: LanesContext, column: LaneColumn, step: int) -> None:
    """Select the turn before (-1) or after (1) the selected turn.

    If no turn is selected, step -1 selects the last turn. If the last turn is selected, step 1 ends the selection.
    """
    turns = [run.prompt for run in column.lane.path if run.prompt is not None]
    if not turns:
        context.say("There is no turn yet.")
        return
    selected = context.lanes.turn
    place = max((turns.index(selected) if selected in turns else len(turns)) + step, 0)
    context.lanes.select_turn(turns[place] if place < len(turns) else None)
    if selected is None and place < len(turns):
        context.say(
            "A turn is selected (▶): variants, regenerating, copying, editing and forking apply to this turn."
        )


@on_current_lane
def fork_lane(context: LanesContext, column: LaneColumn) -> None:
    """Add a lane with the current lane's engine, and with the current lane's path up to the selected turn."""
    if not has_room(context):
        return
    run = context.lanes.selected_run or column.lane.record.head
    if run is None:
        context.say("There is no turn yet after which a lane could be forked.")
    elif run.phase != "ended":
        context.lane_is_answering(column.lane)
    else:
        context.session.add_lane(column.lane.engine.definition, fork=run)
        context.lanes.select_turn(None)
        context.lanes.position = len(context.session.lanes) - 1
        context.do(lambda: show_added(context))


@on_current_lane
def tree(context: LanesContext, column: LaneColumn) -> None:
    """Show all turns of the current lane, and go to the turn that the user picks."""
    if not column.lane.path:
        context.say("There is no turn yet.")
        return
    from paragone_tui.screens.turns.turn_tree import TurnTree

    context.show(TurnTree(column.lane), lambda run: _go_to(context, column, run))


def _go_to(context: LanesContext, column: LaneColumn, run: Run) -> None:
    lane = column.lane
    if lane not in context.session.lanes:
        return
    if run not in lane.path:
        if context.lane_is_answering(lane):
            return
        context.session.select(lane, newest_after(lane, run))
        context.lanes.show_history(column)
    context.lanes.select_turn(run.prompt)
