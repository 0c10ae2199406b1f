"""Commands on the conversation: start a new conversation, reopen an earlier one, and find words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paragone.wording import counted
from paragone_workbench.lanes.finding import find_run
from paragone_workbench.lanes.reopening import defined_otherwise
from paragone_workbench.lanes.variants import newest_after

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.store.records import Hit


def new_conversation(context: LanesContext) -> None:
    """Start a new conversation in the same lanes. Answers in progress stop, and their text is kept."""
    if context.session.is_busy:
        context.do(lambda: _stop_and_begin(context))
    else:
        _begin(context)


async def _stop_and_begin(context: LanesContext) -> None:
    await context.session.stop()
    if context.is_answering(context.session.lanes):  # a prompt was sent meanwhile
        return
    _begin(context)
    context.say(f"The answers were stopped. {context.key_of('reopen')} finds their text.")


def _begin(context: LanesContext) -> None:
    context.earlier_prompts += [prompt.written for prompt in context.session.prompts]
    context.session.new_conversation()
    context.composer.leave_conversation()
    context.lanes.select_turn(None)
    context.lanes.lay_out()  # the headers show the system prompt
    context.lanes.show_history()
    session, engines = context.session, context.engines.config.engines
    if defined := defined_otherwise(session.lanes, engines, session.registry):
        context.do(lambda: _configure(context, defined))


async def _configure(context: LanesContext, defined: Sequence[tuple[Lane, EngineDefinition]]) -> None:
    """Give lanes their options of config.toml in place of the options of a reopened conversation."""
    for lane, definition in defined:
        await context.session.configure(lane, definition)
        lane.first_definition, lane.is_reopened = definition, False
    context.lanes.lay_out()


def reopen(context: LanesContext) -> None:
    """Let the user pick an earlier conversation, and reopen it. If the history is not open, show why.

    When the user picks a conversation, answers in progress stop, and their text is kept.
    """
    history = context.history_or_say()
    if history is None:
        return
    from paragone_tui.screens.history.files import ConversationFiles
    from paragone_tui.screens.history.history_screen import HistoryScreen

    engines = context.engines
    files = ConversationFiles(context.session.registry, engines.state, engines.config.models.folders)
    context.show(
        HistoryScreen(history, context.session, files),
        lambda found: context.do(lambda: _show(context, *found)),
    )


async def _show(context: LanesContext, number: int, hit: Hit | None) -> None:
    session, shown = context.session, context.lanes
    await session.stop()
    reopened = await session.reopen(number, hit=hit)
    assert reopened is not None  # `reopen` returns None only with `only_with_same_engines`
    context.composer.leave_conversation()
    shown.select_turn(None)
    await shown.rebuild()
    if reopened.shown_again is not None:
        context.say(
            f"The lane {reopened.shown_again.name} was closed. It is shown again, because it has the text that was found. "
            f"{context.key_of('close-lane')} closes it."
        )
    elif reopened.closed_lanes:
        lanes = counted(reopened.closed_lanes, "closed lane")
        context.say(f"Not shown: {lanes} of this conversation. A search finds the answers there.")
    shown.show_history()
    if hit is not None and not hit.is_title:
        _reveal(context, hit)
    session.open_engines()


def _reveal(context: LanesContext, hit: Hit) -> None:
    """Make the lane with the match of a search current, and scroll to the match."""
    session, shown = context.session, context.lanes
    found = None if hit.prompt_id is None else find_run(session.lanes, hit.prompt_id, hit.run_id)
    if found is None:
        return
    lane, run = found
    if run not in lane.path:
        if context.lane_is_answering(lane):
            return
        session.select(lane, newest_after(lane, run))
        shown.show_history()
        context.say(
            f"{lane.name} shows another branch now, which has the text that was found. "
            f"{context.key_of('next-variant')} shows the next branch."
        )
    shown.position = session.lanes.index(lane)
    shown.lay_out()
    shown.columns[shown.position].reveal(run, hit)


def find(context: LanesContext) -> None:
    """Let the user find words in the open conversation, except during blind votes, as matches have the engines' names."""
    if context.is_blind:
        context.say(f"A search would show names; {context.key_of('blind-vote')} ends blind voting.")
        return
    from paragone_tui.screens.find_screen import FindScreen

    context.show(FindScreen(context.session.lanes), lambda hit: _reveal(context, hit))
