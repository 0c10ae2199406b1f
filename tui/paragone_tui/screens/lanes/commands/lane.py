"""Commands on the current lane and on all lanes: select, scroll, stop, zoom, link."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_tui.screens.lanes.commands.prompts import write
from paragone_tui.screens.lanes.lanes_screen import LanesScreen, on_current_lane
from paragone_workbench.lanes.session import continue_run

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.lanes.composer import Composer
    from paragone_tui.transcript import Transcript
    from paragone_workbench.config.settings import Mode
    from paragone_workbench.lanes.variants import Copy


_ORDER_SENTENCES: dict[Mode, str] = {
    "parallel": "The lanes now answer all at once and share the machine.",
    "sequential": "The lanes now answer one after the other, each with all of the machine.",
    "swap": "The lanes now answer with one engine in memory at a time.",
    "auto": "The lanes now answer all at once where their engines fit in memory.",
}


def stop(screen: LanesScreen) -> None:
    """Stop all answers. If no lane is busy, stop loading engines. If no engine is loading, cancel the edit of a prompt.

    Except after an edit, show the key that quits.
    """
    session, quits = screen.session, f"{screen.key_of('quit')} quits."
    if session.is_busy:
        screen.begin(session.stop)
        loads = (
            f"Models go on loading; {screen.key_of('stop')} again stops that. " if session.is_opening else ""
        )
        screen.say(f"All answers stop. {loads}{quits}")
    elif session.is_opening:
        session.stop_opening()
        screen.say(f"Loading stops. {quits}")
    elif screen.composer.editing is not None:
        screen.composer.end_edit()
    else:
        screen.say(quits)


def zoom(screen: LanesScreen) -> None:
    screen.lanes.zoomed = not screen.lanes.zoomed
    screen.lanes.lay_out()


def toggle_link(screen: LanesScreen) -> None:
    lanes = screen.lanes
    lanes.linked = not lanes.linked
    lanes.lay_out()
    screen.show_keys()
    screen.say(
        "The lanes' turns are aligned, and the lanes scroll together."
        if lanes.linked
        else f"Each lane scrolls alone; {screen.key_of('toggle-link')} links them again."
    )


def toggle_mode(screen: LanesScreen) -> None:
    """Switch between two schedules, usually between parallel and sequential answers."""
    scheduler = screen.session.pool.scheduler
    scheduler.mode, screen.other_mode = screen.other_mode, scheduler.mode
    screen.session.open_engines()
    screen.show_keys()
    screen.say(_ORDER_SENTENCES[scheduler.mode])


@on_current_lane
def stop_lane(screen: LanesScreen, column: LaneColumn) -> None:
    if column.lane.is_busy:
        screen.begin(partial(screen.session.stop, [column.lane]))
    else:
        column.lane.engine.stop_opening()


@on_current_lane
def regenerate(screen: LanesScreen, column: LaneColumn) -> None:
    """Let the current lane answer the selected or the last prompt again."""
    if screen.lane_is_answering(column.lane):
        return
    selected = screen.lanes.selected_run
    run = screen.session.regenerate(column.lane, None if selected is None else selected.prompt)
    if run is None:
        screen.say(
            "There is no prompt yet."
            if not screen.session.prompts
            else f"This lane's engine is not running; {screen.key_of('restart-engine')} starts it."
        )


@on_current_lane
def continue_answer(screen: LanesScreen, column: LaneColumn) -> None:
    if screen.lane_is_answering(column.lane):
        return
    try:
        continue_run(screen.session, column.lane)
    except InputError as error:
        screen.say(str(error))


@on_current_lane
def copy_answer(screen: LanesScreen, column: LaneColumn) -> None:
    selected = screen.lanes.selected_run
    text = column.lane.last_answer if selected is None else selected.text.strip("\r\n")
    if text:
        screen.program.copy(text)
    else:
        screen.say("There is no answer to copy yet.")


@on_current_lane
def copy(screen: LanesScreen, column: LaneColumn) -> None:
    """Let the user pick a text to copy: a block of code, the answer, the turn of all lanes, or the conversation."""
    run = screen.lanes.selected_run or column.lane.record.head
    if run is None:
        screen.say("There is nothing to copy yet.")
        return
    from paragone_tui.screens.pickers import CopyPicker
    from paragone_workbench.lanes.variants import copies

    def picked(result: tuple[Copy, bool]) -> None:
        chosen, to_file = result
        if to_file:
            screen.program.copy_to_file(chosen.text)
        else:
            screen.program.copy(chosen.text)

    screen.show(CopyPicker(list(copies(screen.session.lanes, run))), picked)


@on_current_lane
def about_lane(screen: LanesScreen, column: LaneColumn) -> None:
    from paragone_tui.screens.sheets import AboutLane

    screen.show(AboutLane(column.lane))


@on_current_lane
def costs(screen: LanesScreen, column: LaneColumn) -> None:
    from paragone_tui.screens.sheets import CostsSheet
    from paragone_workbench.runs.result import Costs

    runs = [(run.result.definition.name, Costs.of(run.result)) for run in column.lane.record.runs]
    names = dict.fromkeys(name for name, cost in runs if cost.runs)
    if names:
        engines = {name: Costs.total(cost for engine, cost in runs if engine == name) for name in names}
        screen.show(CostsSheet(column.lane.name, engines))
    else:
        screen.say("This lane has no answer yet, so it has cost nothing.")


def toggle_logs(screen: LanesScreen) -> None:
    if not screen.lanes.toggle_logs():
        screen.composer.unfold()


def lane_mode(screen: LanesScreen) -> None:
    """Leave the prompt. If a list of files is open at the prompt, close the list instead."""
    if screen.composer.completion.is_open:
        screen.composer.completion.close()
    else:
        screen.set_focus(screen.lanes)


def scrolling(by: Callable[[Transcript], None]) -> Callable[[LanesScreen], None]:
    """Return a command that scrolls the current lane's transcript."""

    def scroll(screen: LanesScreen) -> None:
        if screen.lanes.current is not None:
            by(screen.lanes.current.transcript)

    return scroll


def in_prompt(edit: Callable[[Composer], object]) -> Callable[[LanesScreen], None]:
    """Return a command that edits the prompt, and leads to it."""

    def run(screen: LanesScreen) -> None:
        write(screen)
        edit(screen.composer)

    return run
