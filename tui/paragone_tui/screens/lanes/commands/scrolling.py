"""Commands that scroll the current lane, and those that are linked with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.lanes import Lanes
    from paragone_tui.transcript import Transcript

__all__ = ["scrolling_commands"]


def scrolling_commands(lanes: Lanes) -> dict[str, Callable[[], None]]:
    """Return what executes the commands, by their ids."""

    def current(scroll: Callable[[Transcript], None]) -> Callable[[], None]:
        return lambda: scroll(lanes.current.transcript) if lanes.current is not None else None

    return {
        "scroll-down": current(lambda it: it.scroll_rows(1)),
        "scroll-up": current(lambda it: it.scroll_rows(-1)),
        "half-page-down": current(lambda it: it.scroll_pages(0.5)),
        "half-page-up": current(lambda it: it.scroll_pages(-0.5)),
        "page-down": current(lambda it: it.scroll_pages(1)),
        "page-up": current(lambda it: it.scroll_pages(-1)),
        "to-start": current(lambda it: it.to_start()),
        "to-end": current(lambda it: it.to_end()),
    }
