"""Screens that lie over the lanes and go away with an answer."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.screen import ModalScreen, ScreenResultType

from paragone_tui.painting.screen import ThriftyScreen

__all__ = ["Modal", "Palette"]


class Modal(ThriftyScreen[ScreenResultType], ModalScreen[ScreenResultType]):
    """Goes away once: of two quick enters, the second finds it gone."""

    leaving = False
    """Whether it is going away: its widgets may be gone before it is."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Go away with an answer, unless that has happened; what it was still doing is given up."""
        if self.leaving or not self.is_current:
            return AwaitComplete()
        self.leaving = True
        self.workers.cancel_node(self)
        return super().dismiss(result)


class Palette(CommandPalette):
    """Textual's palette, which would end the program at the second of two quick enters or clicks."""

    def dismiss(self, result: object = None) -> AwaitComplete:
        """Go away, unless that has happened."""
        return super().dismiss(result) if self.is_current else AwaitComplete()  # type: ignore[arg-type]
