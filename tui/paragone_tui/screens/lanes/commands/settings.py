"""The command that changes the settings of lanes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from paragone import InputError
from paragone.options import describe
from paragone_workbench.engines.definitions import EngineDefinition, split_options
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.settings import edited, lane_settings

if TYPE_CHECKING:
    from paragone_tui.engine_list import EngineList
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_tui.screens.settings.settings_form import SettingsChange

__all__ = ["SettingsCommands"]


class SettingsCommands:
    """Shows the settings form, and applies what the user changes in it."""

    def __init__(self, context: LanesContext, engines: EngineList) -> None:
        self._context = context
        self._session = context.session
        self._engines = engines

    def settings(self) -> None:
        """Show the settings of the current lane in a form, and apply what the user changes."""
        column = self._context.current_or_say()
        if column is None:
            return
        lane = column.lane
        backend = lane.engine.backend
        if backend is None:
            self._context.say(
                f"The backend {lane.engine.definition.backend} is not installed: it has no settings."
            )
            return
        from paragone_tui.screens.settings.settings_form import SettingsForm

        definition = lane.engine.definition
        runs = (run for run in reversed(lane.path) if run.result.definition.is_called_like(definition))
        reported = next((it.settings for it in runs if it.settings is not None), None)
        settings = lane_settings(
            definition,
            backend,
            configured=self._engines.config.engines.get(definition.name),
            configured_origin="saved" if definition.name in self._engines.config.added else "config.toml",
            first=lane.first_definition,
            first_origin="conversation" if lane.is_reopened else "command line",
            in_force=reported.sampling if reported is not None else None,
        )

        def check(edits: Mapping[str, str], all_lanes: bool) -> None:
            for target in self._targets(lane, all_lanes):
                self._edited(target, edits)
                if target.is_busy and _reloads(target, edits):
                    raise InputError(
                        f"The lane {target.name!r} is still answering, and this change reloads its model.",
                        hint=f"Close this form and stop the answer with {self._context.key_of('stop-lane')} first.",
                    )

        def changed(change: SettingsChange | None) -> None:
            if change is not None:
                self._context.do(lambda: self._apply(lane, change))

        head = lane.record.head
        form = SettingsForm(
            lane.name,
            settings,
            self._session.system_prompt.after(head.prompt if head is not None else None),
            several_lanes=len(self._session.lanes) > 1,
            check=check,
        )
        self._context.show(form, changed)

    async def _apply(self, lane: Lane, change: SettingsChange) -> None:
        if change.system is not None:
            self._session.system_prompt.change(change.system)
        if change.edits:
            for target in self._targets(lane, change.all_lanes):
                definition = self._edited(target, change.edits)
                if definition != target.engine.definition:
                    await self._session.configure(target, definition)
        if change.save_as:
            saved = dataclasses.replace(lane.engine.definition, name=change.save_as)
            saved = dataclasses.replace(saved, name=self._engines.save(saved, lane.engine.backend))
            await self._session.configure(lane, saved)
            self._engines.remember_lanes()
            self._context.say(f"Saved as {saved.name}.")
        self._context.lanes.lay_out()

    def _targets(self, lane: Lane, all_lanes: bool) -> list[Lane]:
        return list(self._session.lanes) if all_lanes else [it for it in self._session.lanes if it is lane]

    def _edited(self, lane: Lane, edits: Mapping[str, str]) -> EngineDefinition:
        """Return a lane's definition with the edits. Raises InputError if a value is invalid."""
        backend = lane.engine.backend
        if backend is None:
            return lane.engine.definition
        definition = edited(lane.engine.definition, backend, edits)
        split_options(definition, backend)
        return definition


def _reloads(lane: Lane, edits: Mapping[str, str]) -> bool:
    backend = lane.engine.backend
    return backend is not None and any(info.name in edits for info in describe(backend.load_options))
