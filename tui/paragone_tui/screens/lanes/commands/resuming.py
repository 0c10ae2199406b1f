"""Going on at the start of the program: with the last conversation, and with the prompt that was not sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone.wording import quoted

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.store.recording.drafts import DraftSaving
    from paragone_workbench.store.records import DraftRecord, Summary
    from paragone_workbench.store.store import Store


async def resume_last(context: LanesContext, *, may_resume: bool) -> None:
    """Show the conversation that was used last, with its options, if the lanes have its engines; if not, offer it if its
    last answer was interrupted. Do nothing once a prompt was sent, and beside another instance of the program, which may
    have the conversation open.
    """
    history, session = context.history.history, context.session
    assert history is not None  # this is called once it is open
    last = await history.call(_last_open)
    if last is None or session.prompts:
        return
    resumed = None
    if may_resume:
        resumed = await session.reopen(last.number, only_with_same_engines=True)
    if resumed is not None:
        await context.lanes.rebuild()
        context.lanes.show_history()
        session.open_engines()  # of lanes whose options need a reload
        again = f" {context.key_of('regenerate')} writes the interrupted answer again."
        context.say(
            f"Resumed: {quoted(last.title)}. {context.key_of('new-conversation')} starts a new conversation."
            f"{again if last.is_interrupted else ''}"
        )
    elif last.is_interrupted:
        context.say(
            f"An answer in {quoted(last.title)} was interrupted. {context.key_of('reopen')} lists the conversation."
        )


async def restore_draft(context: LanesContext, drafts: DraftSaving) -> DraftRecord | None:
    """Write the prompt again that an earlier instance of the program left unsent, unless another one is written.

    Returns it.
    """
    history = context.history.history
    assert history is not None  # this is called once it is open
    if (draft := await drafts.open(history)) is not None:
        context.composer.restore(draft)
    return draft


def _last_open(store: Store) -> Summary | None:
    return None if store.is_shared else store.last_open()
