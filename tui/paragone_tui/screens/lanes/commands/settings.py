"""The command that changes the settings of lanes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from paragone import InputError
from paragone.options import describe
from paragone_tui.screens.lanes.commands.context import LanesContext, on_current_lane
from paragone_workbench.config.presets import preset_of
from paragone_workbench.engines.definitions import EngineDefinition, declared_options, split_options
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.settings import Origin, edited, lane_settings

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.settings.settings_form import SettingsChange


@on_current_lane
def settings(context: LanesContext, column: LaneColumn) -> None:
    """Show the settings of the current lane in a form, and apply the user's changes."""
    lane = column.lane
    definition, backend = lane.engine.definition, lane.engine.backend
    if backend is None:
        context.say(f"The backend {definition.backend} is not installed: it has no settings.")
        return
    from paragone_tui.screens.settings.settings_form import SettingsForm

    config = context.engines.config
    runs = (run for run in reversed(lane.path) if run.result.definition.is_called_like(definition))
    reported = next((run.settings for run in runs if run.settings is not None), None)
    sources: list[tuple[Origin, EngineDefinition | None]] = [
        ("saved" if definition.name in config.added else "config.toml", config.engines.get(definition.name)),
        ("conversation" if lane.is_reopened else "command line", lane.first_definition),
    ]
    in_force = reported.sampling if reported is not None else None
    found = lane_settings(definition, backend, sources, in_force=in_force)

    def check(edits: Mapping[str, str], all_lanes: bool) -> None:
        for target in _targets(context, lane, all_lanes):
            _edited(target, edits)
            if target.is_busy and _reloads(target, edits):
                raise InputError(
                    f"The lane {target.name!r} is still answering, and this change reloads its model.",
                    hint=f"Close this form and stop the answer with {context.key_of('stop-lane')} first.",
                )

    form = SettingsForm(
        lane.name,
        found,
        _system(context, lane),
        presets=config.presets,
        remove_preset=context.engines.remove_preset,
        several_lanes=len(context.session.lanes) > 1,
        check=check,
    )
    context.show(form, lambda change: context.do(lambda: _apply(context, lane, change)))


async def _apply(context: LanesContext, lane: Lane, change: SettingsChange) -> None:
    session = context.session
    if change.system is not None:
        session.system_prompt.change(change.system)
    if change.edits:
        for target in _targets(context, lane, change.all_lanes):
            if missing := _missing(target, change.edits):
                context.say(f"{target.name} has no option {', '.join(missing)}.")
            definition = _edited(target, change.edits)
            if definition != target.engine.definition:
                await session.configure(target, definition)
    backend = lane.engine.backend
    if change.save_preset and backend is not None:
        system = _system(context, lane)
        preset = preset_of(change.save_preset, lane.engine.definition, backend, system=system)
        context.say(f"Saved as the preset {context.engines.save_preset(preset)}.")
    if change.save_as:
        saved = dataclasses.replace(lane.engine.definition, name=change.save_as)
        saved = dataclasses.replace(saved, name=context.engines.save(saved, lane.engine.backend))
        await session.configure(lane, saved)
        context.engines.remember_lanes()
        context.say(f"Saved as {saved.name}.")
    if change.edits or change.save_as:
        context.lanes.show_history()  # earlier answers now show the settings that they had
    context.lanes.lay_out()


def _system(context: LanesContext, lane: Lane) -> str:
    """Return the system prompt that applies to a lane's next prompt."""
    head = lane.record.head
    return context.session.system_prompt.after(head.prompt if head is not None else None)


def _targets(context: LanesContext, lane: Lane, all_lanes: bool) -> Sequence[Lane]:
    """Return the lanes to change: all lanes, or `lane` unless the user has closed it."""
    return [other for other in context.session.lanes if all_lanes or other is lane]


def _edited(lane: Lane, edits: Mapping[str, str]) -> EngineDefinition:
    """Return a lane's engine definition with the edits. Raises InputError if a value is invalid."""
    backend = lane.engine.backend
    if backend is None:
        return lane.engine.definition
    definition = edited(lane.engine.definition, backend, edits)
    split_options(definition, backend)
    return definition


def _missing(lane: Lane, edits: Mapping[str, str]) -> Sequence[str]:
    """Return the names of edited options that a lane's backend does not have."""
    backend = lane.engine.backend
    return [name for name in edits if backend is not None and name not in declared_options(backend)]


def _reloads(lane: Lane, edits: Mapping[str, str]) -> bool:
    backend = lane.engine.backend
    return backend is not None and any(info.name in edits for info in describe(backend.load_options))
