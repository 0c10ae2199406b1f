"""Commands on the conversation: start a new one, and reopen an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone.wording import counted
from paragone_workbench.lanes.variants import find_run, newest_after

if TYPE_CHECKING:
    from paragone_tui.history_opening import HistoryOpening
    from paragone_tui.screens.conversation_picker import Found
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.store.records import Hit

__all__ = ["ConversationCommands"]


class ConversationCommands:
    """Changes which conversation the lanes show."""

    def __init__(self, context: LanesContext, history: HistoryOpening) -> None:
        self._context = context
        self._session = context.session
        self._history = history

    def new_conversation(self) -> None:
        """Start a new conversation in the same lanes."""
        if self._context.is_answering(self._session.lanes):
            return
        self._session.new_conversation()
        self._context.lanes.show_history()
        self._context.lanes.marks.check()

    def reopen(self) -> None:
        """Let the user pick an earlier conversation, and reopen it; show why if the history is not open."""
        if self._context.is_answering(self._session.lanes):
            return
        if self._history.history is None:
            self._context.say(self._history.problem, warning=True)
            return
        from paragone_tui.screens.conversation_picker import ConversationPicker

        def picked(found: Found | None) -> None:
            if found is not None:
                self._context.do(lambda: self._show(*found))

        self._context.show(ConversationPicker(self._history.history, self._session), picked)

    async def _show(self, number: int, hit: Hit | None) -> None:
        session, shown = self._session, self._context.lanes
        closed = await session.reopen(number)
        await shown.rebuild()
        if closed:
            lanes = counted(closed, "closed lane")
            self._context.say(f"Not shown: {lanes} of this conversation. The answers there are kept.")
        found = (
            find_run(session.lanes, hit.prompt_id, hit.run_id) if hit is not None and hit.prompt_id else None
        )
        if found is not None and found[1] not in found[0].path:
            session.select(found[0], newest_after(*found))
        shown.show_history()
        if hit is not None and found is not None:
            lane, run = found
            shown.position = session.lanes.index(lane)
            shown.lay_out()
            shown.columns[shown.position].reveal(run, hit)
        session.open_engines()
