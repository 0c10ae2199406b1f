"""Commands on the engines of lanes and their settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from paragone import InputError
from paragone.options import describe
from paragone_tui.screens.lanes.commands.prompts import send
from paragone_tui.screens.lanes.lanes_screen import LanesScreen, on_current_lane
from paragone_tui.terminal.text import one_line
from paragone_workbench.config.settings import preset_of
from paragone_workbench.engines.definitions import EngineDefinition, declared_options, split_options
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.settings import Origin, edited, lane_settings

if TYPE_CHECKING:
    from paragone_tui.screens.engine_picker import Picked
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.settings import SettingsChange
    from paragone_workbench.lanes.settings import Carried


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
    in_force = reported.sampling if reported is not None else None
    found = lane_settings(definition, backend, sources, in_force=in_force)

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
        several_lanes=len(screen.session.lanes) > 1,
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


def _system(screen: LanesScreen, lane: Lane) -> str:
    head = lane.record.head
    return screen.session.system_prompt.after(head.prompt if head is not None else None)


def _targets(screen: LanesScreen, lane: Lane, all_lanes: bool) -> Sequence[Lane]:
    return [other for other in screen.session.lanes if all_lanes or other is lane]


def _edited(lane: Lane, edits: Mapping[str, str]) -> EngineDefinition:
    """Return a lane's engine definition with the edits. Raises InputError if a value is invalid."""
    backend = lane.engine.backend
    if backend is None:
        return lane.engine.definition
    definition = edited(lane.engine.definition, backend, edits)
    split_options(definition, backend)
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
        engines = [(one.definition, one.is_new) for one in picked if one.definition is not None]
        room = MOST_LANES - len(screen.session.lanes)
        if len(engines) > room:
            screen.say(f"There can be {MOST_LANES} lanes; the last {len(engines) - room} were not added.")
        if engines:
            screen.do(lambda: _add(screen, engines[:room]))
        else:
            add_demo(screen)

    advice = (
        "Pick an engine to chat with: enter opens it. tab ticks several, to compare their answers; "
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
        carried = screen.engines.for_new_lane(definition)
        lane = screen.session.add_lane(carried.definition)
        _show_option_changes(screen, carried)
        if is_new:
            screen.engines.keep_once_open(lane.engine, definition, carried.definition)
    screen.lanes.position = len(screen.session.lanes) - 1
    await show_added(screen)


def add_demo(screen: LanesScreen) -> None:
    screen.demo_is_coming = True
    screen.lanes.welcome.update("Making the demo's second model, once …")
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
        sends, screen.sends_after_demo = screen.sends_after_demo, False
        screen.demo_is_coming = False
        await show_added(screen)
    if sends:
        send(screen)


async def show_added(screen: LanesScreen) -> None:
    await screen.rebuild()
    screen.session.open_engines()


@on_current_lane
def close_lane(screen: LanesScreen, column: LaneColumn) -> None:
    screen.do(lambda: _close(screen, column.lane))


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
    """Let the user pick another engine for the current lane. The options that the user set are kept."""
    from paragone_tui.screens.engine_picker import EnginePicker

    def chosen(picked: Sequence[Picked]) -> None:
        definition = picked[0].definition
        if definition is not None and column.lane in screen.session.lanes:
            carried = screen.engines.for_lane_of(column.lane.engine.definition, definition)
            if picked[0].is_new:
                screen.engines.keep_once_open(column.lane.engine, definition, carried.definition)
            _show_option_changes(screen, carried)
            screen.do(lambda: _swap(screen, column, carried.definition))

    screen.show(EnginePicker(screen.engines, single=True), chosen)


def _show_option_changes(screen: LanesScreen, carried: Carried) -> None:
    """Show which options a new engine has under other names, and which options it lacks."""
    if carried.remark:
        screen.say(one_line(carried.remark), warning=True)


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
