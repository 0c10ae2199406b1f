"""Commands on prompts, on answers, and on the lanes that show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_tui.screens.lanes.compare_commands import can_vote, open_ballot
from paragone_tui.screens.lanes.lanes import can_stop
from paragone_tui.screens.lanes.lanes_screen import LanesScreen, on_current_lane
from paragone_tui.terminal.text import one_line
from paragone_workbench.lanes.session import continue_run

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.lanes.composer import Composer
    from paragone_tui.transcript import Transcript
    from paragone_workbench.config.settings import Mode
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.lanes.variants import Copy
    from paragone_workbench.store.records import QueuedPrompt
    from paragone_workbench.store.saving import History


_RECALLED = 100
"""Number of prompts of earlier conversations that the user can recall one by one. Search finds all earlier prompts."""


def send(screen: LanesScreen, lane: Lane | None = None) -> None:
    """Read the files that the prompt mentions, then send the prompt to `lane`, or to all lanes; busy lanes queue it. An
    edited prompt goes to all lanes that answered the earlier prompt. If a file cannot be read, do not send the prompt."""
    if screen.composer.is_settled and screen.has_begun.is_set():
        _send(screen, lane)
        return

    async def settle_and_send() -> None:
        await screen.has_begun.wait()
        if await screen.composer.settle():
            _send(screen, lane)

    if screen.session.lanes or screen.has_begun.is_set():
        screen.do(settle_and_send)
    else:  # creating the demo's models may take long: let the user write meanwhile
        screen.say("The prompt is sent once the demo's engines exist.")
        screen.begin(settle_and_send)


def _send(screen: LanesScreen, lane: Lane | None) -> None:
    session, composer = screen.session, screen.composer
    lanes = session.lanes if lane is None else [lane]
    if not composer.prompt.strip():
        _send_again(screen, session.queue.kept)
        return
    if not any(map(session.can_answer, lanes)):
        screen.say(
            f"No engine is running; {screen.key_of('restart-engine')} starts one again, "
            f"{screen.key_of('add-lane')} adds another."
        )
        return
    if refusal := _refusal(screen, lanes):
        composer.refuse(refusal)
        return
    queued = next((prompt for prompt in session.queue.prompts if prompt is composer.editing), None)
    if queued is not None:
        draft = composer.take()
        session.queue.edit(queued, draft.text, draft.images, draft.files)
        _send_again(screen, [queued])
        return
    if not screen.is_blind or (composer.edited is None and lane is not None):
        _ask(screen, lane)
    elif can_vote(screen, composer.edited):
        open_ballot(screen, lambda: _ask(screen, lane), partial(_send_again, screen))


def _refusal(screen: LanesScreen, lanes: Sequence[Lane]) -> str:
    """Return why none of these lanes would accept the prompt, and what to do; empty if a lane may accept it."""
    draft = screen.composer.draft
    if refusal := screen.composer.gauge.refusal(draft, lanes):
        return f"{refusal} Shorten the prompt, raise the engine's context, or set overflow in the settings."
    loaded = [lane.engine.loaded for lane in lanes]
    if draft.images and all(model is not None and model.vision is False for model in loaded):
        return f"No engine here accepts images. Remove {one_line(draft.images[0].name)}, or add a model with vision."
    return ""


def _ask(screen: LanesScreen, lane: Lane | None) -> Prompt | None:
    if screen.composer.edited is not None:
        return _send_edited(screen, screen.composer.edited)
    draft = screen.composer.take()
    screen.lanes.select_turn(None)
    lanes = None if lane is None else [lane]
    return screen.session.send(draft.text, draft.images, files=draft.files, lanes=lanes)


def _send_edited(screen: LanesScreen, prompt: Prompt) -> Prompt | None:
    session, composer = screen.session, screen.composer
    if screen.is_answering(lane for lane in session.lanes if lane.answer(prompt) is not None):
        return None
    draft = composer.draft
    edited = session.edit(prompt, draft.text, draft.images, files=draft.files)
    if edited is None:
        screen.say(f"No engine is running; {screen.key_of('restart-engine')} starts one again.")
        return None
    composer.take()
    screen.show_state()
    screen.lanes.select_turn(None)
    return edited


def _send_again(screen: LanesScreen, prompts: Sequence[QueuedPrompt]) -> None:
    """Send prompts of the queue again. In blind mode, send the first, and the others each after the vote before."""
    session = screen.session
    if screen.is_blind and prompts and all(it.for_all and it.prompt is None for it in prompts):
        first, *ahead = prompts
        if can_vote(screen, None):
            open_ballot(screen, lambda: _begun(session, first), partial(_send_again, screen), ahead)
        return
    session.send_again(prompts)
    if prompts and not any(map(session.can_answer, session.lanes)):
        screen.say(f"No engine is running; {screen.key_of('restart-engine')} starts one again.")


def _begun(session: Session, queued: QueuedPrompt) -> Prompt | None:
    session.send_again([queued])
    return queued.prompt


def queue(screen: LanesScreen) -> None:
    if not screen.session.queue.prompts:
        screen.say("No prompt waits. Prompts wait if their lane is busy.")
        return
    from paragone_tui.screens.pickers import QueuePicker

    def edit(queued: QueuedPrompt) -> None:
        if screen.composer.prompt.strip():
            screen.say(
                "Your prompt is not sent. Send or clear this prompt first, then edit a prompt that waits."
            )
            return
        screen.session.queue.keep([queued])  # so that no lane begins the prompt meanwhile
        write(screen)
        screen.composer.edit_prompt(
            queued, lambda: f"Editing a prompt that waits · {_end_of_edit(screen, 'keeps it as it was')}"
        )

    screen.show(QueuePicker(screen.session), edit)


@on_current_lane
def edit_prompt(screen: LanesScreen, column: LaneColumn) -> None:
    prompts = [run.prompt for run in column.lane.path if run.prompt is not None]
    if not prompts:
        screen.say("There is no prompt yet.")
        return
    write(screen)
    edited, selected = screen.composer.edited, screen.lanes.turn
    first = prompts.index(selected) if selected in prompts else len(prompts) - 1
    at = max(prompts.index(edited) - 1 if edited in prompts else first, 0)
    screen.composer.edit_prompt(prompts[at], _edit_title(screen, f"prompt {at + 1} of {len(prompts)}"))


def _edit_title(screen: LanesScreen, which: str) -> Callable[[], str]:
    enter = _shown_key(screen, "send")
    return lambda: f"Editing {which} · {enter} starts a branch · {_end_of_edit(screen, 'cancels')}"


def _end_of_edit(screen: LanesScreen, effect: str) -> str:
    """Describe the key that ends an edit. The key stops busy lanes first; without busy lanes, it has the effect `effect`."""
    return f"{_shown_key(screen, 'stop')} {'stops the lanes first' if can_stop(screen.session) else effect}"


def resume_edit(screen: LanesScreen, prompt_id: str) -> None:
    """Treat the composer's text as an edit of an earlier prompt. If that prompt's conversation is not open, show a message."""
    edited = next((prompt for prompt in screen.session.prompts if prompt.id == prompt_id), None)
    if edited is None:
        screen.say(
            "Your text edits a prompt of a conversation that is not open, and becomes a new prompt here; "
            f"{screen.key_of('reopen')} lists the conversation."
        )
    else:
        screen.composer.resume_edit(edited, _edit_title(screen, "an earlier prompt"))
        screen.session.recorder.draft_changed()


def _shown_key(screen: LanesScreen, command: str) -> str:
    return screen.key_of(command).replace("^", "ctrl+")


@on_current_lane
def show_variant(screen: LanesScreen, column: LaneColumn, offset: int) -> None:
    if screen.lane_is_answering(column.lane):
        return
    lane, selected = column.lane, screen.lanes.selected_run
    place = None if selected is None else lane.path.index(selected)
    if screen.session.show_variant(lane, offset, selected):
        screen.show_state()
        if place is not None:
            screen.lanes.select_turn(lane.path[place].prompt)
    else:
        where = "this lane" if selected is None else "this turn"
        screen.say(
            f"There are no variants in {where}; {screen.key_of('regenerate')} answers again, "
            f"{screen.key_of('edit-prompt')} edits a prompt."
        )


def write(screen: LanesScreen) -> None:
    screen.set_focus(screen.composer)


def attach_file(screen: LanesScreen) -> None:
    write(screen)
    composer = screen.composer
    row, column = composer.cursor_location
    before = composer.document.get_line(row)[:column]
    if before and not before[-1].isspace():
        composer.insert(" ")
    composer.insert("@")


def search_prompts(screen: LanesScreen) -> None:
    from paragone_tui.screens.pickers import PromptPicker

    here = [prompt.written for prompt in reversed(screen.session.prompts)]
    screen.show(PromptPicker(screen.history.history, here), lambda text: replace_prompt(screen, text))


def editor(screen: LanesScreen) -> None:
    write(screen)
    screen.do(lambda: _edit_outside(screen))


async def _edit_outside(screen: LanesScreen) -> None:
    text = await screen.program.edit_text(screen.composer.prompt)
    if text is None:
        screen.say("The editor did not change the text.")
    else:
        screen.composer.load(text)


def recall(screen: LanesScreen, offset: int) -> None:
    write(screen)
    history = screen.history.history
    if history is not None and not (screen.earlier_prompts or screen.session.prompts):
        screen.do(lambda: _recall_first(screen, history, offset))
    else:
        _recall(screen, offset)


async def _recall_first(screen: LanesScreen, history: History, offset: int) -> None:
    found = await history.call(lambda store: store.prompts("", _RECALLED))
    screen.earlier_prompts = [*reversed(found)]
    _recall(screen, offset)


def _recall(screen: LanesScreen, offset: int) -> None:
    here = (prompt.written for prompt in screen.session.prompts)
    screen.composer.recall([*screen.earlier_prompts, *here], offset)
    _attach_again(screen)


def replace_prompt(screen: LanesScreen, text: str) -> None:
    write(screen)
    screen.composer.load(text)
    _attach_again(screen)


def _attach_again(screen: LanesScreen) -> None:
    text = screen.composer.prompt
    prompts = screen.session.prompts
    if any(prompt.written == text and (prompt.files or prompt.images) for prompt in prompts):
        screen.composer.attach_mentions()


_ORDER_SENTENCES: dict[Mode, str] = {
    "parallel": "The lanes now answer concurrently and share the machine.",
    "sequential": "The lanes now answer one after the other, each with the whole machine.",
    "swap": "The lanes now answer with one engine in memory at a time.",
    "auto": "The lanes now answer concurrently if their engines fit in memory together.",
}


def stop(screen: LanesScreen) -> None:
    """Stop all answers. If no lane is busy, stop loading engines. If no engine is loading, cancel the edit of a prompt.
    Except after an edit, show the key that quits."""
    session, quits = screen.session, f"{screen.key_of('quit')} quits."
    if session.is_busy:
        screen.do(session.stop)
        loads = (
            f"Models are still loading; {screen.key_of('stop')} again stops that. "
            if session.is_opening
            else ""
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
    pool = screen.session.pool
    pool.mode, screen.other_mode = screen.other_mode, pool.mode
    screen.session.open_engines()
    screen.show_keys()
    screen.say(_ORDER_SENTENCES[pool.mode])


@on_current_lane
def stop_lane(screen: LanesScreen, column: LaneColumn) -> None:
    if column.lane.is_busy:
        screen.do(partial(screen.session.stop, [column.lane]))
    else:
        column.lane.engine.stop_opening()


@on_current_lane
def regenerate(screen: LanesScreen, column: LaneColumn) -> None:
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
    run = screen.lanes.selected_run or column.lane.record.head
    if run is None:
        screen.say("There is no text to copy yet.")
        return
    from paragone_tui.screens.pickers import CopyPicker
    from paragone_workbench.lanes.variants import copies

    def picked(result: tuple[Copy, bool]) -> None:
        (_, text, _), to_file = result
        if to_file:
            screen.program.copy_to_file(text)
        else:
            screen.program.copy(text)

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


def scrolling(scroll_transcript: Callable[[Transcript], None]) -> Callable[[LanesScreen], None]:
    def scroll(screen: LanesScreen) -> None:
        if screen.lanes.current is not None:
            scroll_transcript(screen.lanes.current.transcript)

    return scroll


def in_prompt(edit: Callable[[Composer], object]) -> Callable[[LanesScreen], None]:
    def run(screen: LanesScreen) -> None:
        write(screen)
        edit(screen.composer)

    return run
