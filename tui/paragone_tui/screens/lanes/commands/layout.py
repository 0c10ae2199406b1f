"""Commands on all lanes: stop, zoom, link, and the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_workbench.config.settings import Mode


_ORDER_SENTENCES: dict[Mode, str] = {
    "parallel": "The lanes now answer all at once and share the machine.",
    "sequential": "The lanes now answer one after the other, each with all of the machine.",
    "swap": "The lanes now answer with one engine in memory at a time.",
    "auto": "The lanes now answer all at once where their engines fit in memory.",
}


def stop(context: LanesContext) -> None:
    """Stop all answers. If no lane is busy, stop loading engines. If no engine is loading, cancel the edit of a prompt.

    Except after an edit, show the key that quits.
    """
    session, quits = context.session, f"{context.key_of('quit')} quits."
    if session.is_busy:
        context.begin(session.stop)
        loads = (
            f"Models go on loading; {context.key_of('stop')} again stops that. " if session.is_opening else ""
        )
        context.say(f"All answers stop. {loads}{quits}")
    elif session.is_opening:
        session.stop_opening()
        context.say(f"Loading stops. {quits}")
    elif context.composer.editing is not None:
        context.composer.end_edit()
    else:
        context.say(quits)


def zoom(context: LanesContext) -> None:
    """Show only the current lane, or all lanes again."""
    context.lanes.zoomed = not context.lanes.zoomed
    context.lanes.lay_out()


def toggle_link(context: LanesContext) -> None:
    """Link the lanes, or let each lane scroll alone."""
    lanes = context.lanes
    lanes.linked = not lanes.linked
    lanes.lay_out()
    context.show_keys()
    context.say(
        "The lanes' turns are aligned, and the lanes scroll together."
        if lanes.linked
        else f"Each lane scrolls alone; {context.key_of('toggle-link')} links them again."
    )


def toggle_mode(context: LanesContext) -> None:
    """Switch between two schedules, usually between parallel and sequential answers."""
    scheduler = context.session.pool.scheduler
    scheduler.mode, context.other_mode = context.other_mode, scheduler.mode
    context.session.open_engines()
    context.show_keys()
    context.say(_ORDER_SENTENCES[scheduler.mode])
