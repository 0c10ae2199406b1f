"""The action that changes the settings of lanes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from paragone import InputError
from paragone.options import describe
from paragone_tui.screens.lanes.layout import LanesLayout
from paragone_workbench.engines.definitions import EngineDefinition, split_options
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.settings import edited, lane_settings

if TYPE_CHECKING:
    from paragone_tui.screens.settings.screen import SettingsChange

__all__ = ["SettingsActions"]


class SettingsActions(LanesLayout):
    """Adds the settings form to the screen."""

    def action_settings(self) -> None:
        """Show the settings of the current lane in a form, and apply what the user changes."""
        column = self.current_or_say()
        if column is None:
            return
        lane = column.lane
        backend = lane.engine.backend
        if backend is None:
            self.app.say(
                f"The backend {lane.engine.definition.backend} is not installed: it has no settings."
            )
            return
        from paragone_tui.screens.settings.screen import SettingsForm

        definition = lane.engine.definition
        engine = (definition.name, definition.backend)
        runs = (
            it
            for it in reversed(lane.path)
            if (it.result.definition.name, it.result.definition.backend) == engine
        )
        reported = next((it.settings for it in runs if it.settings is not None), None)
        settings = lane_settings(
            definition,
            backend,
            configured=self.app.config.engines.get(definition.name),
            configured_origin="saved" if definition.name in self.app.config.added else "config.toml",
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
                        hint=f"Close this form and stop the answer with {self.key_of('stop-lane')} first.",
                    )

        def changed(change: SettingsChange | None) -> None:
            if change is not None:
                self.do(lambda: self._apply(lane, change))

        head = lane.record.head
        form = SettingsForm(
            lane.name,
            settings,
            self.session.system_prompt.after(head.prompt if head is not None else None),
            several_lanes=len(self.session.lanes) > 1,
            check=check,
        )
        self.app.push_screen(form, changed)

    async def _apply(self, lane: Lane, change: SettingsChange) -> None:
        if change.system is not None:
            self.session.system_prompt.change(change.system)
        if change.edits:
            for target in self._targets(lane, change.all_lanes):
                definition = self._edited(target, change.edits)
                if definition != target.engine.definition:
                    await self.session.configure(target, definition)
        if change.save_as:
            saved = dataclasses.replace(lane.engine.definition, name=change.save_as)
            saved = dataclasses.replace(saved, name=self.app.save_engine(saved, lane.engine.backend))
            await self.session.configure(lane, saved)
            self.app.remember_lanes()
            self.app.say(f"Saved as {saved.name}.")
        self.lay_out_lanes()

    def _targets(self, lane: Lane, all_lanes: bool) -> list[Lane]:
        return list(self.session.lanes) if all_lanes else [it for it in self.session.lanes if it is lane]

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
