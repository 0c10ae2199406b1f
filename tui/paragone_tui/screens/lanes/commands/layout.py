"""Commands on how the lanes are shown, and on all lanes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_tui.screens.lanes.composer import Composer
    from paragone_workbench.config.settings import Mode

__all__ = ["LayoutCommands"]

_ORDER_SENTENCES: dict[Mode, str] = {
    "parallel": "The lanes now answer all at once and share the machine.",
    "sequential": "The lanes now answer one after the other, each with all of the machine.",
    "swap": "The lanes now answer with one engine in memory at a time.",
    "auto": "The lanes now answer all at once where their engines fit in memory.",
}


class LayoutCommands:
    """Changes which lane is current, how lanes are shown, and the order in which they answer."""

    def __init__(self, context: LanesContext, composer: Composer, quit_keys: str) -> None:
        """Create the commands. `quit_keys` are the keys that quit the program, in short notation."""
        self._context = context
        self._composer = composer
        self._quits = f"{quit_keys} quits."
        mode = context.session.pool.scheduler.mode
        self._other_mode: Mode = "parallel" if mode == "sequential" else "sequential"
        """The mode that `toggle-mode` switches to."""

    def stop(self) -> None:
        """Stop all answers; if there are none, cancel editing a prompt. Say how to quit."""
        if self._context.session.is_busy:
            self._context.do(self._context.session.stop)
            self._context.say(f"All lanes stop. {self._quits}")
        elif self._composer.edited is not None:
            self._composer.take()
        else:
            self._context.say(self._quits)

    def next_lane(self) -> None:
        """Make the lane to the right current; after the last comes the first."""
        self._context.lanes.move(1)

    def previous_lane(self) -> None:
        """Make the lane to the left current; before the first comes the last."""
        self._context.lanes.move(-1)

    def zoom(self) -> None:
        """Show only the current lane, or all lanes again."""
        lanes = self._context.lanes
        lanes.zoomed = not lanes.zoomed
        lanes.lay_out()

    def toggle_thinking(self) -> None:
        """Switch between thinking in full and as one line, in all lanes."""
        self._context.lanes.toggle_thinking()

    def toggle_link(self) -> None:
        """Link the lanes, or let each scroll alone."""
        lanes = self._context.lanes
        lanes.linked = not lanes.linked
        lanes.lay_out()
        self._context.show_keys()
        self._context.say(
            "The lanes' turns are aligned, and the lanes scroll together."
            if lanes.linked
            else f"Each lane scrolls alone; {self._context.key_of('toggle-link')} links them again."
        )

    def toggle_mode(self) -> None:
        """Switch the order in which lanes answer, usually between in parallel and one after the other."""
        scheduler = self._context.session.pool.scheduler
        scheduler.mode, self._other_mode = self._other_mode, scheduler.mode
        self._context.session.open_engines()
        self._context.show_keys()
        self._context.say(_ORDER_SENTENCES[scheduler.mode])
