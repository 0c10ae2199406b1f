"""Commands on the current lane and on all lanes: select, scroll, stop, zoom, link."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_tui.screens.lanes.commands.context import LanesContext, on_current_lane
from paragone_tui.screens.lanes.commands.conversation import select
from paragone_tui.screens.lanes.commands.prompts import recall, step, write
from paragone_workbench.lanes.session import continue_run

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.lanes.composer import Composer
    from paragone_tui.transcript import Transcript
    from paragone_workbench.config.settings import Mode
    from paragone_workbench.lanes.texts import Copy


_ORDER_SENTENCES: dict[Mode, str] = {
    "parallel": "The lanes now answer all at once and share the machine.",
    "sequential": "The lanes now answer one after the other, each with all of the machine.",
    "swap": "The lanes now answer with one engine in memory at a time.",
    "auto": "The lanes now answer all at once where their engines fit in memory.",
}


def stop(context: LanesContext) -> None:
    """Stop all answers. If no lane is busy, stop loading engines. If no engine is loading, cancel the edit of a prompt.

    Except after an edit, show the key that quits.
    """
    session, quits = context.session, f"{context.key_of('quit')} quits."
    if session.is_busy:
        context.begin(session.stop)
        loads = (
            f"Models go on loading; {context.key_of('stop')} again stops that. " if session.is_opening else ""
        )
        context.say(f"All answers stop. {loads}{quits}")
    elif session.is_opening:
        session.stop_opening()
        context.say(f"Loading stops. {quits}")
    elif context.composer.editing is not None:
        context.composer.end_edit()
    else:
        context.say(quits)


def zoom(context: LanesContext) -> None:
    context.lanes.zoomed = not context.lanes.zoomed
    context.lanes.lay_out()


def toggle_link(context: LanesContext) -> None:
    lanes = context.lanes
    lanes.linked = not lanes.linked
    lanes.lay_out()
    context.show_keys()
    context.say(
        "The lanes' turns are aligned, and the lanes scroll together."
        if lanes.linked
        else f"Each lane scrolls alone; {context.key_of('toggle-link')} links them again."
    )


def toggle_mode(context: LanesContext) -> None:
    """Switch between two schedules, usually between parallel and sequential answers."""
    scheduler = context.session.pool.scheduler
    scheduler.mode, context.other_mode = context.other_mode, scheduler.mode
    context.session.open_engines()
    context.show_keys()
    context.say(_ORDER_SENTENCES[scheduler.mode])


@on_current_lane
def stop_lane(context: LanesContext, column: LaneColumn) -> None:
    """Stop the answers of the current lane. If the lane is not answering, stop loading its engine."""
    if column.lane.is_busy:
        context.begin(partial(context.session.stop, [column.lane]))
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
    if context.lane_is_answering(column.lane):
        return
    try:
        continue_run(context.session, column.lane)
    except InputError as error:
        context.say(str(error))


@on_current_lane
def copy_answer(context: LanesContext, column: LaneColumn) -> None:
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
    from paragone_tui.screens.pickers import CopyPicker
    from paragone_workbench.lanes.texts import copies

    def picked(result: tuple[Copy, bool]) -> None:
        chosen, to_file = result
        if to_file:
            context.program.copy_to_file(chosen.text)
        else:
            context.program.copy(chosen.text)

    context.show(CopyPicker(list(copies(context.session.lanes, run))), picked)


@on_current_lane
def about_lane(context: LanesContext, column: LaneColumn) -> None:
    from paragone_tui.screens.about import AboutLane

    context.show(AboutLane(column.lane))


@on_current_lane
def costs(context: LanesContext, column: LaneColumn) -> None:
    """Show the costs of the current lane's answers, by the engines that gave them."""
    from paragone_tui.screens.about import CostsSheet
    from paragone_workbench.runs.result import Costs

    runs = [(run.result.definition.name, Costs.of(run.result)) for run in column.lane.record.runs]
    names = dict.fromkeys(name for name, cost in runs if cost.runs)
    if names:
        engines = {name: Costs.total(cost for engine, cost in runs if engine == name) for name in names}
        context.show(CostsSheet(column.lane.name, engines))
    else:
        context.say("This lane has no answer yet, so it has cost nothing.")


def simple_commands(context: LanesContext) -> dict[str, Callable[[], None]]:
    """Return the functions that execute the commands, by the ids of the commands."""
    lanes = context.lanes

    def scroll(by: Callable[[Transcript], None]) -> Callable[[], None]:
        return lambda: by(lanes.current.transcript) if lanes.current is not None else None

    def in_prompt(edit: Callable[[Composer], object]) -> Callable[[], None]:
        def run() -> None:
            write(context)
            edit(context.composer)

        return run

    def toggle_logs() -> None:
        if not lanes.toggle_logs():
            context.composer.unfold()

    def lane_mode() -> None:
        """Leave the prompt. If a list of files is open at the prompt, close the list instead."""
        if context.composer.completion.is_open:
            context.composer.completion.close()
        else:
            lanes.screen.set_focus(lanes)

    return {
        "lane-mode": lane_mode,
        "newline": in_prompt(lambda composer: composer.insert("\n")),
        "word-back": in_prompt(lambda composer: composer.action_cursor_word_left()),
        "word-forward": in_prompt(lambda composer: composer.action_cursor_word_right()),
        "delete-word": in_prompt(lambda composer: composer.action_delete_word_right()),
        "next-lane": lambda: lanes.move(1),
        "previous-lane": lambda: lanes.move(-1),
        "toggle-thinking": lanes.toggle_thinking,
        "toggle-logs": toggle_logs,
        "previous-variant": lambda: step(context, -1),
        "next-variant": lambda: step(context, 1),
        "previous-turn": lambda: select(context, -1),
        "next-turn": lambda: select(context, 1),
        "recall-earlier": lambda: recall(context, -1),
        "recall-later": lambda: recall(context, 1),
        "scroll-down": scroll(lambda transcript: transcript.scroll_rows(1)),
        "scroll-up": scroll(lambda transcript: transcript.scroll_rows(-1)),
        "half-page-down": scroll(lambda transcript: transcript.scroll_pages(0.5)),
        "half-page-up": scroll(lambda transcript: transcript.scroll_pages(-0.5)),
        "page-down": scroll(lambda transcript: transcript.scroll_pages(1)),
        "page-up": scroll(lambda transcript: transcript.scroll_pages(-1)),
        "to-start": scroll(lambda transcript: transcript.to_start()),
        "to-end": scroll(lambda transcript: transcript.to_end()),
    }
