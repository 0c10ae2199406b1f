"""Commands on engines and conversations, and the table of all commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from paragone import InputError
from paragone.options import describe, value_text
from paragone.texts import counted, quoted
from paragone_tui.screens.lanes import compare_commands, prompt_commands
from paragone_tui.screens.lanes.composer import Composer
from paragone_tui.screens.lanes.lanes_screen import LanesScreen, on_current_lane
from paragone_tui.terminal.text import one_line
from paragone_tui.transcript import Transcript
from paragone_workbench.config.settings import preset_of
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    declared_options,
    load_and_sampling_options,
)
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.reopening import lanes_with_other_options
from paragone_workbench.lanes.settings import Origin, edited, lane_settings
from paragone_workbench.lanes.variants import find_run, newest_after

if TYPE_CHECKING:
    from paragone_tui.screens.engine_picker import Picked
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.settings import SettingsChange
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import DraftRecord, Hit


@on_current_lane
def settings(screen: LanesScreen, column: LaneColumn) -> None:
    lane = column.lane
    definition, backend = lane.engine.definition, lane.engine.backend
    if backend is None:
        screen.say(f"The backend {definition.backend} is not installed: it has no settings.")
        return
    from paragone_tui.screens.settings import SettingsForm

    config = screen.engines.config
    runs = (run for run in reversed(lane.path) if run.result.definition.is_called_like(definition))
    reported = next((run.settings for run in runs if run.settings is not None), None)
    sources: list[tuple[Origin, EngineDefinition | None]] = [
        ("saved" if definition.name in config.added else "config.toml", config.engines.get(definition.name)),
        ("conversation" if lane.is_reopened else "command line", lane.first_definition),
    ]
    active = reported.sampling if reported is not None else None
    found = lane_settings(definition, backend, sources, active=active)

    def check(edits: Mapping[str, str], all_lanes: bool) -> None:
        for target in _targets(screen, lane, all_lanes):
            _edited(target, edits)
            if target.is_busy and _reloads(target, edits):
                raise InputError(
                    f"The lane {target.name!r} is still answering, and this change reloads its model.",
                    hint=f"Close this form and stop the answer with {screen.key_of('stop-lane')} first.",
                )

    form = SettingsForm(
        lane.name,
        found,
        _system(screen, lane),
        presets=config.presets,
        remove_preset=screen.engines.remove_preset,
        others={other.name: _values(other) for other in screen.session.lanes if other is not lane},
        check=check,
    )
    screen.show(form, lambda change: screen.do(lambda: _apply(screen, lane, change)))


async def _apply(screen: LanesScreen, lane: Lane, change: SettingsChange) -> None:
    session = screen.session
    if change.system is not None:
        session.system_prompt.change(change.system)
    if change.edits:
        for target in _targets(screen, lane, change.all_lanes):
            if missing := _missing(target, change.edits):
                screen.say(f"{target.name} has no option {', '.join(missing)}.")
            definition = _edited(target, change.edits)
            if definition != target.engine.definition:
                await session.configure(target, definition)
    backend = lane.engine.backend
    if change.save_preset and backend is not None:
        system = _system(screen, lane)
        preset = preset_of(change.save_preset, lane.engine.definition, backend, system=system)
        screen.say(f"Saved as the preset {screen.engines.save_preset(preset)}.")
    if change.save_as:
        saved = dataclasses.replace(lane.engine.definition, name=change.save_as)
        saved = dataclasses.replace(saved, name=screen.engines.save(saved, lane.engine.backend))
        await session.configure(lane, saved)
        screen.engines.remember_lanes()
        screen.say(f"Saved as {saved.name}.")
    screen.show_state()
    screen.lanes.lay_out()


def _values(lane: Lane) -> Mapping[str, str]:
    backend = lane.engine.backend
    settings = () if backend is None else lane_settings(lane.engine.definition, backend)
    return {one.info.name: value_text(one.value) for one in settings if not one.info.secret}


def _system(screen: LanesScreen, lane: Lane) -> str:
    head = lane.record.head
    return screen.session.system_prompt.after(head.prompt if head is not None else None)


def _targets(screen: LanesScreen, lane: Lane, all_lanes: bool) -> Sequence[Lane]:
    return [other for other in screen.session.lanes if all_lanes or other is lane]


def _edited(lane: Lane, edits: Mapping[str, str]) -> EngineDefinition:
    backend = lane.engine.backend
    if backend is None:
        return lane.engine.definition
    definition = edited(lane.engine.definition, backend, edits)
    load_and_sampling_options(definition, backend)
    return definition


def _missing(lane: Lane, edits: Mapping[str, str]) -> Sequence[str]:
    backend = lane.engine.backend
    return [name for name in edits if backend is not None and name not in declared_options(backend)]


def _reloads(lane: Lane, edits: Mapping[str, str]) -> bool:
    backend = lane.engine.backend
    return backend is not None and any(info.name in edits for info in describe(backend.load_options))


MOST_LANES = 6
"""Maximum number of lanes after adding a lane: more lanes are hard to read side by side."""


def add_lane(screen: LanesScreen) -> None:
    if not has_room(screen):
        return
    from paragone_tui.screens.engine_picker import EnginePicker

    def chosen(picked: Sequence[Picked]) -> None:
        engines = [(definition, is_new) for definition, is_new in picked if definition is not None]
        room = MOST_LANES - len(screen.session.lanes)
        if len(engines) > room:
            screen.say(f"There can be {MOST_LANES} lanes; the last {len(engines) - room} were not added.")
        if engines:
            screen.do(lambda: _add(screen, engines[:room]))
        else:
            add_demo(screen)

    advice = (
        "Pick an engine to chat with: enter opens it. tab ticks several engines, to compare their answers; "
        f"{screen.key_of('add-lane')} adds others later."
    )
    screen.show(EnginePicker(screen.engines, advice="" if screen.session.lanes else advice), chosen)


def has_room(screen: LanesScreen) -> bool:
    if len(screen.session.lanes) < MOST_LANES:
        return True
    screen.say(f"There are {MOST_LANES} lanes already; {screen.key_of('close-lane')} closes one.")
    return False


async def _add(screen: LanesScreen, engines: Sequence[tuple[EngineDefinition, bool]]) -> None:
    """Add a lane for each engine. New engines are saved once they are open."""
    for definition, is_new in engines:
        carried, remark = screen.engines.for_new_lane(definition)
        lane = screen.session.add_lane(carried)
        _show_remark(screen, remark)
        if is_new:
            screen.engines.keep_once_open(lane.engine, definition, carried)
    screen.lanes.position = len(screen.session.lanes) - 1
    await show_added(screen)


def add_demo(screen: LanesScreen) -> None:
    screen.has_begun.clear()
    screen.lanes.welcome.update(
        "Preparing the demo's two models. The first start downloads 93 MB unless make has installed them …"
    )
    screen.begin(lambda: _add_demo(screen))


async def _add_demo(screen: LanesScreen) -> None:
    from paragone_workbench.models import demo_engines

    try:
        for definition in await demo_engines(screen.session.registry):
            if len(screen.session.lanes) < MOST_LANES:
                lane = screen.session.add_lane(definition)
                if screen.engines.remembers:
                    screen.engines.keep_once_open(lane.engine, definition, definition)
    finally:
        await show_added(screen)
        screen.has_begun.set()


async def show_added(screen: LanesScreen) -> None:
    await screen.rebuild()
    screen.session.open_engines()


@on_current_lane
def close_lane(screen: LanesScreen, column: LaneColumn) -> None:
    from paragone_tui.widgets.fields import Confirmation

    lane = column.lane
    question = f"Close {lane.name} and its engine? Its answers stay in the history."
    screen.show(
        Confirmation(question),
        lambda confirmed: screen.do(lambda: _close(screen, lane)) if confirmed else None,
    )


async def _close(screen: LanesScreen, lane: Lane) -> None:
    await screen.session.close_lane(lane)
    left = "" if lane.engine.left is None else f" {lane.engine.left.sentence}"
    screen.say(
        f"Closed {one_line(lane.name)}: {screen.key_of('add-lane')} adds its engine again, "
        f"and its answers stay in the history.{left}"
    )
    await screen.rebuild()


@on_current_lane
def swap_engine(screen: LanesScreen, column: LaneColumn) -> None:
    from paragone_tui.screens.engine_picker import EnginePicker

    def chosen(picked: Sequence[Picked]) -> None:
        definition, is_new = picked[0]
        if definition is not None and column.lane in screen.session.lanes:
            carried, remark = screen.engines.for_lane_of(column.lane.engine.definition, definition)
            if is_new:
                screen.engines.keep_once_open(column.lane.engine, definition, carried)
            _show_remark(screen, remark)
            screen.do(lambda: _swap(screen, column, carried))

    screen.show(EnginePicker(screen.engines, single=True), chosen)


def _show_remark(screen: LanesScreen, remark: str) -> None:
    if remark:
        screen.say(one_line(remark), warning=True)


async def _swap(screen: LanesScreen, column: LaneColumn, definition: EngineDefinition) -> None:
    await screen.session.swap(column.lane, definition)
    if (left := column.lane.engine.left) is not None:
        screen.say(left.sentence)
    screen.show_state()
    screen.lanes.lay_out()
    screen.engines.remember_lanes()


@on_current_lane
def restart_engine(screen: LanesScreen, column: LaneColumn) -> None:
    """Restart the current lane's engine. If that engine runs and others do not, restart the first of the others instead."""
    session = screen.session
    gone = [lane for lane in session.lanes if not session.can_answer(lane)]
    lane = column.lane if column.lane in gone or not gone else gone[0]
    screen.begin(lane.restart)


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


async def restore_draft(screen: LanesScreen) -> DraftRecord | None:
    if (draft := await screen.session.recorder.take_draft()) is not None:
        screen.composer.restore(draft)
    return draft


@on_current_lane
def select(screen: LanesScreen, column: LaneColumn, step: int) -> None:
    """Select the turn before (-1) or after (1) the selected turn. If no turn is selected, step -1 selects the last turn.
    If the last turn is selected, step 1 ends the selection."""
    turns = [run.prompt for run in column.lane.path if run.prompt is not None]
    if not turns:
        screen.say("There is no turn yet.")
        return
    selected = screen.lanes.turn
    place = max((turns.index(selected) if selected in turns else len(turns)) + step, 0)
    screen.lanes.select_turn(turns[place] if place < len(turns) else None)


@on_current_lane
def fork_lane(screen: LanesScreen, column: LaneColumn) -> None:
    if not has_room(screen):
        return
    run = screen.lanes.selected_run or column.lane.record.head
    if run is None:
        screen.say("There is no turn to fork from yet.")
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
    screen.lanes.lay_out()  # because the headers show the system prompt
    screen.show_state()
    session, engines = screen.session, screen.engines.config.engines
    if defined := lanes_with_other_options(session.lanes, engines, session.registry):
        screen.do(lambda: _configure(screen, defined))


async def _configure(screen: LanesScreen, defined: Sequence[tuple[Lane, EngineDefinition]]) -> None:
    for lane, definition in defined:
        await screen.session.configure(lane, definition)
        lane.first_definition, lane.is_reopened = definition, False
    screen.lanes.lay_out()


def reopen(screen: LanesScreen) -> None:
    """Let the user pick an earlier conversation, and reopen it. If the history is not open, show why. When the user
    picks a conversation, answers in progress stop, and their text is kept."""
    history = screen.history_or_say()
    if history is None:
        return
    from paragone_tui.screens.history import HistoryScreen

    screen.show(
        HistoryScreen(history, screen.engines), lambda found: screen.do(lambda: _show(screen, *found))
    )


async def _show(screen: LanesScreen, number: int, hit: Hit | None) -> None:
    session, shown = screen.session, screen.lanes
    await session.stop()
    reopened = await session.reopen(number, hit=hit)
    history = screen.history.history
    if history is not None and await history.call(lambda store: store.is_shared):
        screen.say(
            "Another paragone has the history open: what it adds here is shown after reopening.", warning=True
        )
    assert reopened is not None  # `reopen` returns None only with `only_with_same_engines`
    screen.composer.leave_conversation()
    shown.select_turn(None)
    await screen.rebuild()
    closed, shown_again = reopened
    if shown_again is not None:
        screen.say(
            f"The lane {shown_again.name} was closed. It is shown again, because it has the text that was found. "
            f"{screen.key_of('close-lane')} closes it."
        )
    elif closed:
        lanes = counted(closed, "closed lane")
        screen.say(f"Not shown: {lanes} of this conversation. A search finds the answers there.")
    if hit is not None and not hit.is_title:
        _reveal(screen, hit)
    session.open_engines()


def _reveal(screen: LanesScreen, hit: Hit) -> None:
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


LANE_COMMANDS: Mapping[str, Callable[[LanesScreen], None]] = {
    "send": prompt_commands.send,
    "send-to-lane": on_current_lane(lambda screen, column: prompt_commands.send(screen, column.lane)),
    "newline": prompt_commands.in_prompt(lambda composer: composer.insert("\n")),
    "lane-mode": prompt_commands.lane_mode,
    "editor": prompt_commands.editor,
    "attach-file": prompt_commands.attach_file,
    "recall-earlier": lambda screen: prompt_commands.recall(screen, -1),
    "recall-later": lambda screen: prompt_commands.recall(screen, 1),
    "search-prompts": prompt_commands.search_prompts,
    "word-back": prompt_commands.in_prompt(Composer.action_cursor_word_left),
    "word-forward": prompt_commands.in_prompt(Composer.action_cursor_word_right),
    "delete-word-back": prompt_commands.in_prompt(Composer.action_delete_word_left),
    "delete-word": prompt_commands.in_prompt(Composer.action_delete_word_right),
    "edit-prompt": prompt_commands.edit_prompt,
    "queue": prompt_commands.queue,
    "stop-lane": prompt_commands.stop_lane,
    "regenerate": prompt_commands.regenerate,
    "continue-answer": prompt_commands.continue_answer,
    "fork-lane": fork_lane,
    "tree": tree,
    "swap-engine": swap_engine,
    "restart-engine": restart_engine,
    "copy-answer": prompt_commands.copy_answer,
    "copy": prompt_commands.copy,
    "about-lane": prompt_commands.about_lane,
    "costs": prompt_commands.costs,
    "settings": settings,
    "reference-lane": compare_commands.reference_lane,
    "divergence": compare_commands.divergence,
    "toggle-heat": compare_commands.toggle_heat,
    "zoom": prompt_commands.zoom,
    "close-lane": close_lane,
    "stop": prompt_commands.stop,
    "add-lane": add_lane,
    "toggle-differences": compare_commands.toggle_differences,
    "toggle-link": prompt_commands.toggle_link,
    "toggle-mode": prompt_commands.toggle_mode,
    "parity": compare_commands.parity,
    "fidelity": compare_commands.fidelity,
    "worst-places": compare_commands.worst_places,
    "blind-vote": compare_commands.blind_vote,
    "prefer-answer": compare_commands.prefer_answer,
    "undo-vote": compare_commands.undo_vote,
    "new-conversation": new_conversation,
    "reopen": reopen,
    "find": find,
    "write": prompt_commands.write,
    "previous-variant": lambda screen: prompt_commands.show_variant(screen, -1),
    "next-variant": lambda screen: prompt_commands.show_variant(screen, 1),
    "previous-turn": lambda screen: select(screen, -1),
    "next-turn": lambda screen: select(screen, 1),
    "next-lane": lambda screen: screen.lanes.move(1),
    "previous-lane": lambda screen: screen.lanes.move(-1),
    "toggle-thinking": lambda screen: screen.lanes.toggle_thinking(),
    "toggle-logs": prompt_commands.toggle_logs,
    "scroll-down": prompt_commands.scrolling(lambda transcript: transcript.scroll_rows(1)),
    "scroll-up": prompt_commands.scrolling(lambda transcript: transcript.scroll_rows(-1)),
    "half-page-down": prompt_commands.scrolling(lambda transcript: transcript.scroll_pages(0.5)),
    "half-page-up": prompt_commands.scrolling(lambda transcript: transcript.scroll_pages(-0.5)),
    "page-down": prompt_commands.scrolling(lambda transcript: transcript.scroll_pages(1)),
    "page-up": prompt_commands.scrolling(lambda transcript: transcript.scroll_pages(-1)),
    "to-start": prompt_commands.scrolling(Transcript.to_start),
    "to-end": prompt_commands.scrolling(Transcript.to_end),
}
"""The functions of the commands, by the ids of the commands."""
