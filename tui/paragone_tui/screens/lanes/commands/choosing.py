"""The command that chooses one of the lanes' engines and the defined engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext


def choose(context: LanesContext) -> None:
    """Show the form in which the user measures engines to decide which of them to deploy."""
    history, session = context.history_or_say(), context.session
    if history is None or context.is_answering(session.lanes):
        return
    from paragone_tui.screens.choose.choose_screen import ChooseScreen

    in_lanes = {lane.engine.definition.name: lane.engine.definition for lane in session.lanes}
    defined = {definition.name: definition for definition in context.engines.config.engines.values()}
    context.show(
        ChooseScreen(
            tuple((in_lanes | defined | in_lanes).values()),  # an engine of a lane has the lane's options
            frozenset(in_lanes),
            history=history,
            registry=session.registry,
            system=context.engines.config.chat.system,
        )
    )
