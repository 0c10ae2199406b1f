"""Commands that give lanes their engines: add and close lanes, change the engine, and the demo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.engine_list import EngineList
    from paragone_tui.screens.engines.picker import Picked
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.lanes.lane import Lane

__all__ = ["EngineCommands"]

MOST_LANES = 6
"""Maximum number of lanes that the user can add to; more are hard to read side by side."""


class EngineCommands:
    """Adds and closes lanes, and changes and restarts their engines."""

    def __init__(self, context: LanesContext, engines: EngineList) -> None:
        self._context = context
        self._session = context.session
        self._engines = engines
        self.demo_is_coming = False
        """Whether the demo's lanes are about to be added."""
        self._after_demo: Callable[[], None] | None = None

    def after_demo(self, call: Callable[[], None]) -> None:
        """Call a function once the demo's lanes are added."""
        self._after_demo = call

    def add_lane(self) -> None:
        """Let the user pick an engine, and add a lane with it at the right."""
        key_of = self._context.key_of
        if len(self._session.lanes) >= MOST_LANES:
            self._context.say(f"There are {MOST_LANES} lanes already; {key_of('close-lane')} closes one.")
            return

        def chosen(picked: Picked) -> None:
            definition = picked.definition
            if definition is None:
                self.add_demo()
            else:
                self._context.do(lambda: self._add(definition, picked.is_written))

        advice = (
            "Pick an engine to chat with: enter opens it. "
            f"{key_of('add-lane')} adds others beside it later, to compare their answers."
        )
        self._pick(chosen, advice="" if self._session.lanes else advice)

    def _pick(self, then: Callable[[Picked], None], *, offers_demo: bool = True, advice: str = "") -> None:
        """Show the engine picker. `then` is called with what was picked, if anything was."""
        from paragone_tui.screens.engines.picker import EnginePicker

        picker = EnginePicker(
            self._engines.config,
            self._session.registry,
            remove=self._engines.remove,
            offers_demo=offers_demo,
            advice=advice,
        )
        self._context.show(picker, lambda picked: then(picked) if picked is not None else None)

    async def _add(self, definition: EngineDefinition, is_written: bool) -> None:
        lane = self._session.add_lane(definition)
        if is_written:
            self._engines.keep_once_open(lane.engine, definition)
        self._context.lanes.position = len(self._session.lanes) - 1
        await self._show_added()

    def add_demo(self) -> None:
        """Add lanes with the demo's two engines, as far as there is room."""
        self.demo_is_coming = True
        self._context.lanes.welcome.update("Making the demo's second model, once …")
        self._context.do(self._add_demo)

    async def _add_demo(self) -> None:
        from paragone_workbench.inventory.models import demo_engines

        try:
            for definition in await demo_engines(self._session.registry):
                if len(self._session.lanes) < MOST_LANES:
                    self._session.add_lane(definition)
        finally:
            self.demo_is_coming, call = False, self._after_demo
            self._after_demo = None
            await self._show_added()
        if call is not None:
            call()

    async def _show_added(self) -> None:
        await self._context.lanes.rebuild()
        self._session.open_engines()

    def close_lane(self) -> None:
        """Close the current lane and its engine."""
        if column := self._context.current_or_say():
            self._context.do(lambda: self._close(column.lane))

    async def _close(self, lane: Lane) -> None:
        await self._session.close_lane(lane)
        await self._context.lanes.rebuild()

    def swap_engine(self) -> None:
        """Let the user pick another engine for the current lane."""
        column = self._context.current_or_say()
        if column is None:
            return

        def chosen(picked: Picked) -> None:
            definition = picked.definition
            if definition is not None and column.lane in self._session.lanes:
                if picked.is_written:
                    self._engines.keep_once_open(column.lane.engine, definition)
                self._context.do(lambda: self._swap(column, definition))

        self._pick(chosen, offers_demo=False)

    async def _swap(self, column: LaneColumn, definition: EngineDefinition) -> None:
        column.show_swap(definition.name, definition.backend)
        await self._session.swap(column.lane, definition)
        self._context.lanes.lay_out()
        self._engines.remember_lanes()

    def restart_engine(self) -> None:
        """Restart an engine that is not running, preferably the current lane's; else the current lane's."""
        gone = [lane for lane in self._session.lanes if not self._session.can_answer(lane)]
        column = self._context.current_or_say()
        if column is not None:
            lane = column.lane if column.lane in gone or not gone else gone[0]
            self._context.do(lane.restart)
