"""Commands on the conversation and its turns: new, reopen, find, fork, tree, and resuming at the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paragone.texts import counted, quoted
from paragone_tui.screens.lanes.commands.engines import has_room, show_added
from paragone_tui.screens.lanes.lanes_screen import LanesScreen, on_current_lane
from paragone_workbench.lanes.reopening import defined_otherwise
from paragone_workbench.lanes.variants import find_run, newest_after

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import DraftRecord, Hit
    from paragone_workbench.store.saving import DraftSaving


async def resume_last(screen: LanesScreen, *, may_resume: bool) -> None:
    """Reopen the last conversation with its options if the lanes have the same engines. If the lanes have other engines, and
    the last answer was interrupted, tell the user how to reopen the conversation. Do nothing after a prompt was sent. If
    another running instance of the program may have the conversation open, tell the user that the conversation is not resumed.
    """
    history, session = screen.history.history, screen.session
    assert history is not None  # the caller waits until the history is open
    last, is_shared = await history.call(lambda store: (store.last_open(), store.is_shared))
    if last is None or session.prompts:
        return
    if is_shared:
        if may_resume:
            screen.say(
                f"{quoted(last.title)} is not resumed, because another paragone has the history open. "
                f"{screen.key_of('reopen')} lists it."
            )
        return
    resumed = None
    if may_resume:
        resumed = await session.reopen(last.number, only_with_same_engines=True)
    if resumed is not None:
        await screen.rebuild()
        session.open_engines()  # the options of the conversation may need a reload
        again = f" {screen.key_of('regenerate')} writes the interrupted answer again."
        screen.say(
            f"Resumed: {quoted(last.title)}. {screen.key_of('new-conversation')} starts a new conversation."
            f"{again if last.is_interrupted else ''}"
        )
    elif last.is_interrupted:
        screen.say(
            f"An answer in {quoted(last.title)} was interrupted. {screen.key_of('reopen')} lists the conversation."
        )


async def restore_draft(screen: LanesScreen, drafts: DraftSaving) -> DraftRecord | None:
    """Put the unsent prompt of an earlier instance of the program back into the composer, and return the prompt, if any."""
    history = screen.history.history
    assert history is not None  # the caller waits until the history is open
    if (draft := await drafts.open(history)) is not None:
        screen.composer.restore(draft)
    return draft


@on_current_lane
def select(screen: LanesScreen, column: LaneColumn, step: int) -> None:
    """Select the turn before (-1) or after (1) the selected turn.

    If no turn is selected, step -1 selects the last turn. If the last turn is selected, step 1 ends the selection.
    """
    turns = [run.prompt for run in column.lane.path if run.prompt is not None]
    if not turns:
        screen.say("There is no turn yet.")
        return
    selected = screen.lanes.turn
    place = max((turns.index(selected) if selected in turns else len(turns)) + step, 0)
    screen.lanes.select_turn(turns[place] if place < len(turns) else None)
    if selected is None and place < len(turns):
        screen.say(
            "A turn is selected (▶): variants, regenerating, copying, editing and forking apply to this turn."
        )


@on_current_lane
def fork_lane(screen: LanesScreen, column: LaneColumn) -> None:
    """Add a lane with the current lane's engine, and with the current lane's path up to the selected turn."""
    if not has_room(screen):
        return
    run = screen.lanes.selected_run or column.lane.record.head
    if run is None:
        screen.say("There is no turn yet after which a lane could be forked.")
    elif run.phase != "ended":
        screen.lane_is_answering(column.lane)
    else:
        screen.session.add_lane(column.lane.engine.definition, fork=run)
        screen.lanes.select_turn(None)
        screen.lanes.position = len(screen.session.lanes) - 1
        screen.do(lambda: show_added(screen))


@on_current_lane
def tree(screen: LanesScreen, column: LaneColumn) -> None:
    if not column.lane.path:
        screen.say("There is no turn yet.")
        return
    from paragone_tui.screens.pickers import TurnTree

    screen.show(TurnTree(column.lane), lambda run: _go_to(screen, column, run))


def _go_to(screen: LanesScreen, column: LaneColumn, run: Run) -> None:
    lane = column.lane
    if lane not in screen.session.lanes:
        return
    if run not in lane.path:
        if screen.lane_is_answering(lane):
            return
        screen.session.select(lane, newest_after(lane, run))
        screen.show_state()
    screen.lanes.select_turn(run.prompt)


def new_conversation(screen: LanesScreen) -> None:
    """Start a new conversation in the same lanes. Answers in progress stop, and their text is kept."""
    if screen.session.is_busy:
        screen.do(lambda: _stop_and_begin(screen))
    else:
        _begin(screen)


async def _stop_and_begin(screen: LanesScreen) -> None:
    await screen.session.stop()
    if screen.is_answering(screen.session.lanes):  # a prompt was sent meanwhile
        return
    _begin(screen)
    screen.say(f"The answers were stopped. {screen.key_of('reopen')} finds their text.")


def _begin(screen: LanesScreen) -> None:
    screen.earlier_prompts += [prompt.written for prompt in screen.session.prompts]
    screen.session.new_conversation()
    screen.composer.leave_conversation()
    screen.lanes.select_turn(None)
    screen.lanes.lay_out()  # the headers show the system prompt
    screen.show_state()
    session, engines = screen.session, screen.engines.config.engines
    if defined := defined_otherwise(session.lanes, engines, session.registry):
        screen.do(lambda: _configure(screen, defined))


async def _configure(screen: LanesScreen, defined: Sequence[tuple[Lane, EngineDefinition]]) -> None:
    """Give lanes their options of config.toml in place of the options of a reopened conversation."""
    for lane, definition in defined:
        await screen.session.configure(lane, definition)
        lane.first_definition, lane.is_reopened = definition, False
    screen.lanes.lay_out()


def reopen(screen: LanesScreen) -> None:
    """Let the user pick an earlier conversation, and reopen it. If the history is not open, show why.

    When the user picks a conversation, answers in progress stop, and their text is kept.
    """
    history = screen.history_or_say()
    if history is None:
        return
    from paragone_tui.screens.history import ConversationFiles, HistoryScreen

    engines = screen.engines
    files = ConversationFiles(screen.session.registry, engines.state, engines.config.models.folders)
    screen.show(
        HistoryScreen(history, screen.session, files),
        lambda found: screen.do(lambda: _show(screen, *found)),
    )


async def _show(screen: LanesScreen, number: int, hit: Hit | None) -> None:
    session, shown = screen.session, screen.lanes
    await session.stop()
    reopened = await session.reopen(number, hit=hit)
    assert reopened is not None  # `reopen` returns None only with `only_with_same_engines`
    screen.composer.leave_conversation()
    shown.select_turn(None)
    await screen.rebuild()
    if reopened.shown_again is not None:
        screen.say(
            f"The lane {reopened.shown_again.name} was closed. It is shown again, because it has the text that was found. "
            f"{screen.key_of('close-lane')} closes it."
        )
    elif reopened.closed_lanes:
        lanes = counted(reopened.closed_lanes, "closed lane")
        screen.say(f"Not shown: {lanes} of this conversation. A search finds the answers there.")
    if hit is not None and not hit.is_title:
        _reveal(screen, hit)
    session.open_engines()


def _reveal(screen: LanesScreen, hit: Hit) -> None:
    """Make the lane with the match of a search current, and scroll to the match."""
    session, shown = screen.session, screen.lanes
    found = None if hit.prompt_id is None else find_run(session.lanes, hit.prompt_id, hit.run_id)
    if found is None:
        return
    lane, run = found
    if run not in lane.path:
        if screen.lane_is_answering(lane):
            return
        session.select(lane, newest_after(lane, run))
        screen.show_state()
        screen.say(
            f"{lane.name} shows another branch now, which has the text that was found. "
            f"{screen.key_of('next-variant')} shows the next branch."
        )
    shown.position = session.lanes.index(lane)
    shown.lay_out()
    shown.columns[shown.position].reveal(run, hit)


def find(screen: LanesScreen) -> None:
    """Let the user find words in the open conversation, except during blind votes, as matches have the engines' names."""
    if screen.is_blind:
        screen.say(f"A search would show names; {screen.key_of('blind-vote')} ends blind voting.")
        return
    from paragone_tui.screens.pickers import FindScreen

    screen.show(FindScreen(screen.session.lanes), lambda hit: _reveal(screen, hit))
