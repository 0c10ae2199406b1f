"""Commands on prompts: write, send, edit and recall prompts, and switch between variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from paragone_tui.screens.lanes.commands.compare import can_vote, open_ballot
from paragone_tui.screens.lanes.commands.context import LanesContext, on_current_lane
from paragone_tui.screens.lanes.lanes import can_stop
from paragone_tui.terminal.text import one_line

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.store.history import History
    from paragone_workbench.store.records import QueuedPrompt


_RECALLED = 100
"""Number of prompts of earlier conversations that the user can recall one by one. Search finds all earlier prompts."""


def send(context: LanesContext) -> None:
    """Send the prompt to all lanes; busy lanes queue it. If the user edits an earlier prompt, send the edited prompt."""
    _send_with_files(context)


@on_current_lane
def send_to_lane(context: LanesContext, column: LaneColumn) -> None:
    """Send the prompt to the current lane only. An edited prompt goes to all lanes that answered the earlier prompt."""
    _send_with_files(context, column.lane)


def _send_with_files(context: LanesContext, lane: Lane | None = None) -> None:
    """Read the files that the prompt mentions, then send the prompt to `lane`, or to all lanes if `lane` is None.

    If a file cannot be read, do not send the prompt.
    """
    if context.composer.is_settled:
        _send(context, lane)
        return

    async def settle_and_send() -> None:
        if await context.composer.settle():
            _send(context, lane)

    context.do(settle_and_send)


def _send(context: LanesContext, lane: Lane | None) -> None:
    session, composer = context.session, context.composer
    lanes = session.lanes if lane is None else [lane]
    if not composer.prompt.strip():
        _send_again(context, session.queue.kept)
        return
    if context.demo_is_coming and not lanes:
        context.sends_after_demo = True
        context.say("The prompt is sent once the demo's engines are there.")
        return
    if not any(map(session.can_answer, lanes)):
        context.say(
            f"No engine is running; {context.key_of('restart-engine')} starts one again, "
            f"{context.key_of('add-lane')} adds another."
        )
        return
    if refusal := _refusal(context, lanes):
        composer.refuse(refusal)
        return
    queued = next((prompt for prompt in session.queue.prompts if prompt is composer.editing), None)
    if queued is not None:
        draft = composer.take()
        session.queue.edit(queued, draft.text, draft.images, draft.files)
        _send_again(context, [queued])
        return
    if not context.is_blind or (composer.edited is None and lane is not None):
        _ask(context, lane)
    elif can_vote(context, composer.edited):
        open_ballot(context, lambda: _ask(context, lane))


def _refusal(context: LanesContext, lanes: Sequence[Lane]) -> str:
    """Return why none of these lanes would accept the prompt, and what to do; empty if a lane may accept it."""
    draft = context.composer.draft
    if refusal := context.composer.gauge.refusal(draft, lanes):
        return f"{refusal} Shorten the prompt, raise the engine's context, or set overflow in the settings."
    loaded = [lane.engine.loaded for lane in lanes]
    if draft.images and all(model is not None and model.vision is False for model in loaded):
        return f"No engine here accepts images. Remove {one_line(draft.images[0].name)}, or add a model with vision."
    return ""


def _ask(context: LanesContext, lane: Lane | None) -> Prompt | None:
    """Send the text and the files in the composer, and return the sent prompt; None if it was not sent."""
    if context.composer.edited is not None:
        return _send_edited(context, context.composer.edited)
    draft = context.composer.take()
    context.lanes.select_turn(None)
    lanes = None if lane is None else [lane]
    return context.session.send(draft.text, draft.images, files=draft.files, lanes=lanes)


def _send_edited(context: LanesContext, prompt: Prompt) -> Prompt | None:
    session, composer = context.session, context.composer
    if context.is_answering(lane for lane in session.lanes if lane.answer(prompt) is not None):
        return None
    draft = composer.draft
    edited = session.edit(prompt, draft.text, draft.images, files=draft.files)
    if edited is None:
        context.say(f"No engine is running; {context.key_of('restart-engine')} starts one again.")
        return None
    composer.take()
    context.lanes.show_history()
    context.lanes.select_turn(None)
    return edited


def _send_again(context: LanesContext, prompts: Sequence[QueuedPrompt]) -> None:
    session = context.session
    session.send_again(prompts)
    if prompts and not any(map(session.can_answer, session.lanes)):
        context.say(f"No engine is running; {context.key_of('restart-engine')} starts one again.")


def queue(context: LanesContext) -> None:
    """Let the user edit or remove a prompt of the queue, or send it again."""
    if not context.session.queue.prompts:
        context.say("No prompt waits. Prompts wait if their lane is busy.")
        return
    from paragone_tui.screens.pickers import QueuePicker

    def edit(queued: QueuedPrompt) -> None:
        if context.composer.prompt.strip():
            context.say(
                "Your prompt is not sent. Send or clear this prompt first, then edit a prompt that waits."
            )
            return
        context.session.queue.keep([queued])  # so that no lane begins the prompt meanwhile
        write(context)
        context.composer.edit_prompt(
            queued, lambda: f"Editing a prompt that waits · {_end_of_edit(context, 'keeps it as it was')}"
        )

    context.show(QueuePicker(context.session), edit)


@on_current_lane
def edit_prompt(context: LanesContext, column: LaneColumn) -> None:
    prompts = [run.prompt for run in column.lane.path if run.prompt is not None]
    if not prompts:
        context.say("There is no prompt yet.")
        return
    write(context)
    edited, selected = context.composer.edited, context.lanes.turn
    first = prompts.index(selected) if selected in prompts else len(prompts) - 1
    at = max(prompts.index(edited) - 1 if edited in prompts else first, 0)
    context.composer.edit_prompt(prompts[at], _edit_title(context, f"prompt {at + 1} of {len(prompts)}"))


def _edit_title(context: LanesContext, which: str) -> Callable[[], str]:
    enter = _shown_key(context, "send")
    return lambda: f"Editing {which} · {enter} starts a branch · {_end_of_edit(context, 'cancels')}"


def _end_of_edit(context: LanesContext, effect: str) -> str:
    """Describe the key that ends an edit. The key stops busy lanes first; without busy lanes, it has the effect `effect`."""
    return f"{_shown_key(context, 'stop')} {'stops the lanes first' if can_stop(context.session) else effect}"


def resume_edit(context: LanesContext, prompt_id: str) -> None:
    """Treat the composer's text as an edit of an earlier prompt. If that prompt's conversation is not open, show a message."""
    edited = next((prompt for prompt in context.session.prompts if prompt.id == prompt_id), None)
    if edited is None:
        context.say(
            "Your text edits a prompt of a conversation that is not open, and becomes a new prompt here; "
            f"{context.key_of('reopen')} lists the conversation."
        )
    else:
        context.composer.resume_edit(edited, _edit_title(context, "an earlier prompt"))


def _shown_key(context: LanesContext, command: str) -> str:
    return context.key_of(command).replace("^", "ctrl+")


@on_current_lane
def step(context: LanesContext, column: LaneColumn, by: int) -> None:
    """Show the previous (-1) or the next (1) variant in the current lane."""
    if context.lane_is_answering(column.lane):
        return
    lane, selected = column.lane, context.lanes.selected_run
    place = None if selected is None else lane.path.index(selected)
    if context.session.step(lane, by, selected):
        context.lanes.show_history(column)
        if place is not None:
            context.lanes.select_turn(lane.path[place].prompt)
    else:
        where = "this lane" if selected is None else "this turn"
        context.say(
            f"There are no variants in {where}; {context.key_of('regenerate')} answers again, "
            f"{context.key_of('edit-prompt')} edits a prompt."
        )


def write(context: LanesContext) -> None:
    """Move the focus to the prompt before the next key is handled."""
    context.composer.screen.set_focus(context.composer)


def attach_file(context: LanesContext) -> None:
    write(context)
    composer = context.composer
    row, column = composer.cursor_location
    before = composer.document.get_line(row)[:column]
    if before and not before[-1].isspace():
        composer.insert(" ")
    composer.insert("@")


def search_prompts(context: LanesContext) -> None:
    """Let the user find an earlier prompt, and replace the composer's text with it. Undo restores the old text."""
    from paragone_tui.screens.pickers import PromptPicker

    here = [prompt.written for prompt in reversed(context.session.prompts)]
    context.show(PromptPicker(context.history.history, here), lambda text: replace_prompt(context, text))


def editor(context: LanesContext) -> None:
    """Open the prompt in the user's editor, and replace the prompt with the edited text."""
    write(context)
    context.do(lambda: _edit_outside(context))


async def _edit_outside(context: LanesContext) -> None:
    text = await context.program.edit_text(context.composer.prompt)
    if text is None:
        context.say("The editor changed nothing.")
    else:
        context.composer.load(text)


def recall(context: LanesContext, by: int) -> None:
    """Recall an earlier (-1) or a later (1) prompt into the composer, also from earlier conversations."""
    write(context)
    history = context.history.history
    if history is not None and not (context.earlier_prompts or context.session.prompts):
        context.do(lambda: _recall_first(context, history, by))
    else:
        _recall(context, by)


async def _recall_first(context: LanesContext, history: History, by: int) -> None:
    found = await history.call(lambda store: store.prompts("", _RECALLED))
    context.earlier_prompts = [*reversed(found)]
    _recall(context, by)


def _recall(context: LanesContext, by: int) -> None:
    here = (prompt.written for prompt in context.session.prompts)
    context.composer.recall([*context.earlier_prompts, *here], by)
    _attach_again(context)


def replace_prompt(context: LanesContext, text: str) -> None:
    write(context)
    context.composer.load(text)
    _attach_again(context)


def _attach_again(context: LanesContext) -> None:
    text = context.composer.prompt
    prompts = context.session.prompts
    if any(prompt.written == text and (prompt.files or prompt.images) for prompt in prompts):
        context.composer.attach_mentions()
