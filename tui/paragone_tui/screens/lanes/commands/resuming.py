"""Resumes the last conversation and the unsent prompt when the program starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone.wording import quoted

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.store.recording.drafts import DraftSaving
    from paragone_workbench.store.records import DraftRecord


async def resume_last(context: LanesContext, *, may_resume: bool) -> None:
    """Reopen the last conversation with its options if the lanes have the same engines. If the lanes have other engines, and
    the last answer was interrupted, tell the user how to reopen the conversation. Do nothing after a prompt was sent. If
    another running instance of the program may have the conversation open, tell the user that the conversation is not resumed.
    """
    history, session = context.history.history, context.session
    assert history is not None  # the caller waits until the history is open
    last, is_shared = await history.call(lambda store: (store.last_open(), store.is_shared))
    if last is None or session.prompts:
        return
    if is_shared:
        if may_resume:
            context.say(
                f"{quoted(last.title)} is not resumed, because another paragone has the history open. "
                f"{context.key_of('reopen')} lists it."
            )
        return
    resumed = None
    if may_resume:
        resumed = await session.reopen(last.number, only_with_same_engines=True)
    if resumed is not None:
        await context.lanes.rebuild()
        context.lanes.show_history()
        session.open_engines()  # the options of the conversation may need a reload
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
    """Put the unsent prompt of an earlier instance of the program back into the composer, and return the prompt, if any."""
    history = context.history.history
    assert history is not None  # the caller waits until the history is open
    if (draft := await drafts.open(history)) is not None:
        context.composer.restore(draft)
    return draft
