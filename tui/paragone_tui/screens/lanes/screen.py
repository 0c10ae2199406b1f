"""The main screen, with the actions on all lanes, the conversation and the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone_tui.keys import readable
from paragone_tui.screens.lanes.compare_actions import CompareActions
from paragone_tui.screens.lanes.lane_actions import LaneActions
from paragone_tui.screens.lanes.prompt_actions import PromptActions
from paragone_tui.screens.lanes.settings_actions import SettingsActions
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.lanes.session import Session
from paragone_workbench.lanes.variants import find_run, newest_after
from paragone_workbench.store.records import Hit

if TYPE_CHECKING:
    from paragone_tui.screens.engines.picker import Picked

__all__ = ["LanesScreen"]

MOST_LANES = 6
"""Maximum number of lanes that the user can add to; more are hard to read side by side."""

_ORDER_SENTENCES: dict[Mode, str] = {
    "parallel": "The lanes now answer all at once and share the machine.",
    "sequential": "The lanes now answer one after the other, each with all of the machine.",
    "swap": "The lanes now answer with one engine in memory at a time.",
    "auto": "The lanes now answer all at once where their engines fit in memory.",
}


class LanesScreen(PromptActions, LaneActions, SettingsActions, CompareActions):
    """The main screen: lanes, composer, and a line of key hints."""

    def __init__(self, session: Session, *, markdown: bool) -> None:
        super().__init__(session, markdown=markdown)
        self._other_mode: Mode = "parallel" if session.scheduler.mode == "sequential" else "sequential"
        """The mode that `toggle-mode` switches to."""

    # All lanes

    def action_stop(self) -> None:
        """Stop all answers; if there are none, cancel editing a prompt. Say how to quit."""
        quits = f"{readable(self.app.keys['quit'].both[:1])} quits."
        if self.session.is_busy:
            self.do(self.session.stop)
            self.app.say(f"All lanes stop. {quits}")
        elif self.composer.edited is not None:
            self.composer.take()
        else:
            self.app.say(quits)

    def action_next_lane(self) -> None:
        """Make the lane to the right current; after the last comes the first."""
        self._move(1)

    def action_previous_lane(self) -> None:
        """Make the lane to the left current; before the first comes the last."""
        self._move(-1)

    def _move(self, step: int) -> None:
        if self.columns:
            self.position = (self.position + step) % len(self.columns)
            self.lay_out_lanes()

    def action_add_lane(self) -> None:
        """Let the user pick an engine, and add a lane with it at the right."""
        if len(self.session.lanes) >= MOST_LANES:
            self.app.say(f"There are {MOST_LANES} lanes already; {self.key_of('close-lane')} closes one.")
            return

        def chosen(picked: Picked | None) -> None:
            if picked is not None:
                definition, is_written = picked.definition, picked.is_written
                if definition is None:
                    self.add_demo()
                else:
                    self.do(lambda: self._add(definition, is_written))

        self.app.pick_engine(chosen, advice="" if self.session.lanes else self.start_advice)

    async def _add(self, definition: EngineDefinition, is_written: bool) -> None:
        lane = self.session.add_lane(definition)
        if is_written:
            self.app.keep_once_open(lane.engine, definition)
        self.position = len(self.session.lanes) - 1
        await self._show_added()

    def add_demo(self) -> None:
        """Add lanes with the demo's two engines, as far as there is room."""
        self.demo_is_coming = True
        self.welcome.update("Making the demo's second model, once …")
        self.do(self._add_demo)

    async def _add_demo(self) -> None:
        from paragone_workbench.inventory.demo import demo_engines

        try:
            for definition in await demo_engines(self.app.registry):
                if len(self.session.lanes) < MOST_LANES:
                    self.session.add_lane(definition)
        finally:
            self.demo_is_coming, sends = False, self.sends_to_demo
            self.sends_to_demo = False
            await self._show_added()
        if sends:
            self.action_send()

    async def _show_added(self) -> None:
        await self.rebuild()
        self.session.open_engines()

    def action_toggle_thinking(self) -> None:
        """Switch between thinking in full and as one line, in all lanes."""
        self.fold_thinking = not self.fold_thinking
        for column in self.columns:
            column.transcript.fold_thinking = self.fold_thinking

    def action_toggle_mode(self) -> None:
        """Switch the order in which lanes answer, usually between in parallel and one after the other."""
        scheduler = self.session.scheduler
        scheduler.mode, self._other_mode = self._other_mode, scheduler.mode
        self.session.open_engines()
        self.show_keys(self.size.width)
        self.app.say(_ORDER_SENTENCES[scheduler.mode])

    def action_toggle_link(self) -> None:
        """Link the lanes, or let each scroll alone."""
        self.linked = not self.linked
        self.lay_out_lanes()
        self.show_keys(self.size.width)
        self.app.say(
            "The lanes' turns are aligned, and the lanes scroll together."
            if self.linked
            else f"Each lane scrolls alone; {self.key_of('toggle-link')} links them again."
        )

    def action_parity(self) -> None:
        """Show whether the lanes answered under the same conditions."""
        from paragone_tui.screens.parity.screen import ParitySheet

        self.app.push_screen(ParitySheet(self.session, self.do))

    # The conversation

    def action_new_conversation(self) -> None:
        """Start a new conversation in the same lanes."""
        if self.is_answering(self.session.lanes):
            return
        self.session.new_conversation()
        for column in self.columns:
            column.show_history()
        self.marks.check()

    def action_reopen(self) -> None:
        """Let the user pick an earlier conversation, and reopen it."""
        if not self.is_answering(self.session.lanes):
            self.app.pick_conversation(self._reopen)

    def _reopen(self, number: int, hit: Hit | None) -> None:
        self.do(lambda: self._show_conversation(number, hit))

    async def _show_conversation(self, number: int, hit: Hit | None) -> None:
        closed = await self.session.reopen(number)
        await self.rebuild()
        if closed:
            lanes = "1 closed lane" if closed == 1 else f"{closed} closed lanes"
            self.app.say(f"Not shown: {lanes} of this conversation. The answers there are kept.")
        found = (
            find_run(self.session.lanes, hit.prompt_id, hit.run_id)
            if hit is not None and hit.prompt_id
            else None
        )
        if found is not None and found[1] not in found[0].path:
            self.session.select(found[0], newest_after(*found))
        for column in self.columns:
            column.show_history()
        if hit is not None and found is not None:
            lane, run = found
            self.position = self.session.lanes.index(lane)
            self.lay_out_lanes()
            self.columns[self.position].reveal(run, hit)
        self.session.open_engines()
