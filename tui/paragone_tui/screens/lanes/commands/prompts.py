"""Commands on prompts: send, edit, recall, and switch between variants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paragone_tui.screens.lanes.commands.votes import can_vote, open_ballot

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane


_RECALLED = 100
"""Number of prompts of earlier conversations that can be recalled one by one; all of them can be searched."""


def send(context: LanesContext) -> None:
    """Send the prompt to all lanes; busy ones queue it. If an earlier prompt is edited, send the edit."""
    _send(context, context.session.lanes, to_all=True)


def send_to_lane(context: LanesContext) -> None:
    """Send the prompt only to the current lane, unless it is an edit of an earlier prompt."""
    if column := context.current_or_say():
        _send(context, [column.lane], to_all=False)


def _send(context: LanesContext, lanes: Sequence[Lane], *, to_all: bool) -> None:
    if not context.composer.prompt.strip():
        return
    if context.demo_is_coming and not lanes:
        context.sends_after_demo = True
        context.say("The prompt is sent once the demo's engines are there.")
        return
    if not any(context.session.can_answer(lane) for lane in lanes):
        context.say(
            f"No engine is running; {context.key_of('restart-engine')} starts one again, "
            f"{context.key_of('add-lane')} adds another."
        )
        return
    edited = context.composer.edited
    if not context.is_blind or (edited is None and not to_all):
        _ask(context, lanes, to_all=to_all)
    elif can_vote(context, edited):
        open_ballot(context, lambda: _ask(context, lanes, to_all=to_all))


def _ask(context: LanesContext, lanes: Sequence[Lane], *, to_all: bool) -> Prompt | None:
    """Send what the composer has, and return the prompt; None if it was not sent."""
    if context.composer.edited is not None:
        return _send_edited(context, context.composer.edited)
    text, images = context.composer.take()
    return context.session.send(text, images, lanes=None if to_all else lanes)


def _send_edited(context: LanesContext, prompt: Prompt) -> Prompt | None:
    session, composer = context.session, context.composer
    if context.is_answering(lane for lane in session.lanes if lane.answer(prompt) is not None):
        return None
    edited = session.edit(prompt, composer.prompt, composer.images)
    if edited is None:
        context.say(f"No engine is running; {context.key_of('restart-engine')} starts one again.")
        return None
    composer.take()
    context.lanes.show_history()
    return edited


def edit_prompt(context: LanesContext) -> None:
    """Edit the last prompt of the current lane; if that is being edited, the one before, and so on."""
    column = context.current_or_say()
    if column is None:
        return
    prompts = [run.prompt for run in column.lane.path if run.prompt is not None]
    if not prompts:
        context.say("There is no prompt yet.")
        return
    write(context)
    edited = context.composer.edited
    at = max(prompts.index(edited) - 1 if edited in prompts else len(prompts) - 1, 0)
    send, cancel = (context.key_of(command).replace("^", "ctrl+") for command in ("send", "stop"))
    title = f"Editing prompt {at + 1} of {len(prompts)} · {send} starts a branch · {cancel} cancels"
    context.composer.edit_prompt(prompts[at], title)


def step(context: LanesContext, by: int) -> None:
    """Show the previous (-1) or the next (1) variant in the current lane."""
    column = context.current_or_say()
    if column is None or context.lane_is_answering(column.lane):
        return
    if context.session.step(column.lane, by):
        column.show_history()
    else:
        context.say(
            f"There are no variants in this lane; {context.key_of('regenerate')} answers again, "
            f"{context.key_of('edit-prompt')} edits a prompt."
        )


def write(context: LanesContext) -> None:
    """Return to the prompt, before the next key."""
    context.composer.screen.set_focus(context.composer)


def newline(context: LanesContext) -> None:
    """Insert a line break into the prompt."""
    write(context)
    context.composer.insert("\n")


def attach_image(context: LanesContext) -> None:
    """Let the user attach an image to the prompt, or remove one."""
    from paragone_tui.screens.image_picker import ImagePicker

    write(context)
    context.show(ImagePicker(context.composer.images), context.composer.attach)


def word_back(context: LanesContext) -> None:
    """Move a word back in the prompt."""
    write(context)
    context.composer.action_cursor_word_left()


def word_forward(context: LanesContext) -> None:
    """Move a word forward in the prompt."""
    write(context)
    context.composer.action_cursor_word_right()


def delete_word(context: LanesContext) -> None:
    """Delete the next word of the prompt."""
    write(context)
    context.composer.action_delete_word_right()


def search_prompts(context: LanesContext) -> None:
    """Let the user find an earlier prompt, which takes the place of what is written; undo brings that back."""
    from paragone_tui.screens.prompt_picker import PromptPicker

    write(context)
    here = [prompt.text for prompt in reversed(context.session.prompts)]
    context.show(PromptPicker(context.history.history, here), context.composer.load)


def editor(context: LanesContext) -> None:
    """Give the prompt to the user's editor, and take its text back."""
    write(context)
    context.do(lambda: _edit_outside(context))


async def _edit_outside(context: LanesContext) -> None:
    text = await context.program.edit_text(context.composer.prompt)
    if text is None:
        context.say("The editor changed nothing.")
    else:
        context.composer.load(text)


def recall(context: LanesContext, by: int) -> None:
    """Recall an earlier (-1) or a later (1) prompt into the composer, also one of an earlier conversation."""
    write(context)
    if not (context.earlier_prompts or context.session.prompts) and context.history.history is not None:
        context.do(lambda: _recall_first(context, by))
    else:
        _recall(context, by)


async def _recall_first(context: LanesContext, by: int) -> None:
    if (history := context.history.history) is not None:
        found = await history.call(lambda store: store.prompts("", _RECALLED))
        context.earlier_prompts = [*reversed(found)]
        _recall(context, by)


def _recall(context: LanesContext, by: int) -> None:
    here = (prompt.text for prompt in context.session.prompts)
    context.composer.recall([*context.earlier_prompts, *here], by)
