"""Commands on the conversation: start a new one, and reopen an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone.wording import counted
from paragone_tui.garbage import return_memory
from paragone_workbench.lanes.variants import find_run, newest_after

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.store.records import Hit


def new_conversation(context: LanesContext) -> None:
    """Start a new conversation in the same lanes. Answers that are being written stop; their text is kept."""
    if context.session.is_busy:
        context.do(lambda: _stop_and_begin(context))
    else:
        _begin(context)


async def _stop_and_begin(context: LanesContext) -> None:
    await context.session.stop()
    if context.is_answering(context.session.lanes):  # a prompt was sent meanwhile
        return
    _begin(context)
    context.say(f"The answers were stopped. {context.key_of('reopen')} finds them, as far as they had come.")


def _begin(context: LanesContext) -> None:
    context.earlier_prompts += [prompt.written for prompt in context.session.prompts]
    context.session.new_conversation()
    context.composer.leave_conversation()
    context.lanes.select_turn(None)
    context.lanes.show_history()
    context.lanes.marks.check()
    return_memory()


def reopen(context: LanesContext) -> None:
    """Let the user pick an earlier conversation, and reopen it; show why if the history is not open.

    Answers that are being written stop once one is picked; their text is kept.
    """
    if context.history.history is None:
        context.say(context.history.problem, warning=True)
        return
    from paragone_tui.screens.conversation_picker import ConversationPicker

    context.show(
        ConversationPicker(context.history.history, context.session),
        lambda found: context.do(lambda: _show(context, *found)),
    )


async def _show(context: LanesContext, number: int, hit: Hit | None) -> None:
    session, shown = context.session, context.lanes
    await session.stop()
    closed = await session.reopen(number)
    context.composer.leave_conversation()
    shown.select_turn(None)
    await shown.rebuild()
    if closed:
        lanes = counted(closed, "closed lane")
        context.say(f"Not shown: {lanes} of this conversation. The answers there are kept.")
    found = find_run(session.lanes, hit.prompt_id, hit.run_id) if hit is not None and hit.prompt_id else None
    if found is not None and found[1] not in found[0].path:
        session.select(found[0], newest_after(*found))
    shown.show_history()
    if hit is not None and found is not None:
        lane, run = found
        shown.position = session.lanes.index(lane)
        shown.lay_out()
        shown.columns[shown.position].reveal(run, hit)
    session.open_engines()
    return_memory()
