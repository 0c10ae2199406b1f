"""Commands on the current lane, and on its selected or last answer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_tui.screens.lanes.commands.context import LanesContext, on_current_lane
from paragone_workbench.lanes.continuing import continue_run

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.lanes.copies import Copy


@on_current_lane
def stop_lane(context: LanesContext, column: LaneColumn) -> None:
    """Stop the answers of the current lane. If the lane is not answering, stop loading its engine."""
    if column.lane.is_busy:
        context.do(partial(context.session.stop, [column.lane]))
    else:
        column.lane.engine.stop_opening()


@on_current_lane
def regenerate(context: LanesContext, column: LaneColumn) -> None:
    """Let the current lane answer the selected or the last prompt again."""
    if context.lane_is_answering(column.lane):
        return
    selected = context.lanes.selected_run
    run = context.session.regenerate(column.lane, None if selected is None else selected.prompt)
    if run is not None and selected is not None:
        context.lanes.show_history(column)  # later turns stay on the branch of the earlier answer
    if run is None:
        context.say(
            "There is no prompt yet."
            if not context.session.prompts
            else f"This lane's engine is not running; {context.key_of('restart-engine')} starts it."
        )


@on_current_lane
def continue_answer(context: LanesContext, column: LaneColumn) -> None:
    """Let the current lane continue its last answer, if the answer is not complete."""
    if context.lane_is_answering(column.lane):
        return
    try:
        continue_run(context.session, column.lane)
    except InputError as error:
        context.say(str(error))


@on_current_lane
def copy_answer(context: LanesContext, column: LaneColumn) -> None:
    """Copy the selected or the last answer of the current lane to the clipboard."""
    selected = context.lanes.selected_run
    text = column.lane.last_answer if selected is None else selected.text.strip("\r\n")
    if text:
        context.program.copy(text)
    else:
        context.say("There is no answer to copy yet.")


@on_current_lane
def copy(context: LanesContext, column: LaneColumn) -> None:
    """Let the user pick a text to copy: a block of code, the answer, the turn of all lanes, or the conversation."""
    run = context.lanes.selected_run or column.lane.record.head
    if run is None:
        context.say("There is nothing to copy yet.")
        return
    from paragone_tui.screens.turns.copy_picker import CopyPicker
    from paragone_workbench.lanes.copies import copies

    def picked(result: tuple[Copy, bool]) -> None:
        chosen, to_file = result
        if to_file:
            context.program.copy_to_file(chosen.text)
        else:
            context.program.copy(chosen.text)

    context.show(CopyPicker(list(copies(context.session.lanes, run))), picked)


@on_current_lane
def about_lane(context: LanesContext, column: LaneColumn) -> None:
    """Show the details of the current lane's engine."""
    from paragone_tui.screens.about_sheet import AboutLane

    context.show(AboutLane(column.lane))


@on_current_lane
def costs(context: LanesContext, column: LaneColumn) -> None:
    """Show the costs of the current lane's answers, by the engines that gave them."""
    from paragone_tui.screens.costs_sheet import CostsSheet
    from paragone_workbench.runs.costs import Costs

    runs = [(run.result.definition.name, Costs.of(run.result)) for run in column.lane.record.runs]
    names = dict.fromkeys(name for name, cost in runs if cost.runs)
    if names:
        engines = {name: Costs.total(cost for engine, cost in runs if engine == name) for name in names}
        context.show(CostsSheet(column.lane.name, engines))
    else:
        context.say("This lane has no answer yet, so it has cost nothing.")
