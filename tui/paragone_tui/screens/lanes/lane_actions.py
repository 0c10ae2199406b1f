"""Actions on the current lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone_tui.screens.lanes.column import LaneColumn
from paragone_tui.screens.lanes.layout import LanesLayout
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.lanes.lane import Lane

if TYPE_CHECKING:
    from paragone_tui.screens.engines.picker import Picked

__all__ = ["LaneActions"]


class LaneActions(LanesLayout):
    """Adds the actions on the current lane to the screen."""

    def action_stop_lane(self) -> None:
        """Stop the answers of the current lane."""
        if column := self.current_or_say():
            self.do(column.lane.stop)

    def action_regenerate(self) -> None:
        """Have the current lane answer the last prompt again."""
        column = self.current_or_say()
        if column is None or self.lane_is_answering(column.lane):
            return
        if self.session.regenerate(column.lane) is None:
            self.app.say(
                "There is no prompt yet."
                if not self.session.prompts
                else f"This lane's engine is not running; {self.key_of('restart-engine')} starts it."
            )

    def action_restart_engine(self) -> None:
        """Restart an engine that is not running, preferably the current lane's; else the current lane's."""
        gone = [lane for lane in self.session.lanes if not self.session.can_answer(lane)]
        column = self.current_or_say()
        if column is not None:
            lane = column.lane if column.lane in gone or not gone else gone[0]
            self.do(lambda: self.session.restart(lane))

    def action_copy_answer(self) -> None:
        """Copy the last answer of the current lane to the clipboard."""
        column = self.current_or_say()
        if column is None:
            return
        text = column.lane.last_answer
        if not text:
            self.app.say("There is no answer to copy yet.")
            return
        self.app.copy_to_clipboard(text)
        self.app.say(f"Copied {len(text):,} characters.")

    def action_about_lane(self) -> None:
        """Show the details of the current lane's engine."""
        column = self.current_or_say()
        if column is not None:
            from paragone_tui.screens.about.screen import AboutLane

            self.app.push_screen(AboutLane(column.lane))

    def action_zoom(self) -> None:
        """Show only the current lane, or all lanes again."""
        self.zoomed = not self.zoomed
        self.lay_out_lanes()

    def action_scroll_down(self) -> None:
        """Scroll the current lane down by a row."""
        if self.current:
            self.current.transcript.scroll_rows(1)

    def action_scroll_up(self) -> None:
        """Scroll the current lane up by a row."""
        if self.current:
            self.current.transcript.scroll_rows(-1)

    def action_half_page_down(self) -> None:
        """Scroll the current lane down by half a page."""
        if self.current:
            self.current.transcript.scroll_pages(0.5)

    def action_half_page_up(self) -> None:
        """Scroll the current lane up by half a page."""
        if self.current:
            self.current.transcript.scroll_pages(-0.5)

    def action_page_up(self) -> None:
        """Scroll the current lane up by a screenful."""
        if self.current:
            self.current.transcript.scroll_pages(-1)

    def action_page_down(self) -> None:
        """Scroll the current lane down by a screenful."""
        if self.current:
            self.current.transcript.scroll_pages(1)

    def action_to_start(self) -> None:
        """Scroll the current lane to the beginning."""
        if self.current:
            self.current.transcript.to_start()

    def action_to_end(self) -> None:
        """Scroll the current lane to the end and follow new text."""
        if self.current:
            self.current.transcript.to_end()

    def action_close_lane(self) -> None:
        """Close the current lane and its engine."""
        if column := self.current_or_say():
            self.do(lambda: self._close(column.lane))

    async def _close(self, lane: Lane) -> None:
        await self.session.close_lane(lane)
        await self.rebuild()

    def action_swap_engine(self) -> None:
        """Let the user pick another engine for the current lane."""
        column = self.current_or_say()
        if column is None:
            return

        def chosen(picked: Picked | None) -> None:
            if picked is not None and picked.definition is not None and column.lane in self.session.lanes:
                definition = picked.definition
                if picked.is_written:
                    self.app.keep_once_open(column.lane.engine, definition)
                self.do(lambda: self._swap(column, definition))

        self.app.pick_engine(chosen, offers_demo=False)

    async def _swap(self, column: LaneColumn, definition: EngineDefinition) -> None:
        column.show_swap(definition.name, definition.backend)
        await self.session.swap(column.lane, definition)
        self.lay_out_lanes()
        self.app.remember_lanes()
