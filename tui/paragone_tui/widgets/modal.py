"""Modal screens: shown over the lanes until they are closed with a result."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.message import Message
from textual.screen import ModalScreen, ScreenResultType
from textual.widgets import Input, OptionList

from paragone_tui.painting.screen import ThriftyScreen

__all__ = ["Modal", "Palette"]


class Modal(ThriftyScreen[ScreenResultType], ModalScreen[ScreenResultType]):
    """A modal screen that is closed only once, even if Enter is pressed twice in quick succession."""

    leaving = False
    """Whether it is being closed; its widgets may be removed before it is."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close the screen with a result and cancel its workers, unless it is closed or being closed."""
        if self.leaving or not self.is_current:
            return AwaitComplete()
        self.leaving = True
        self.workers.cancel_node(self)
        return super().dismiss(result)


class Palette(CommandPalette):
    """Textual's command palette, without its crashes on a second quick Enter or click, and while it searches."""

    leaving = False

    async def _on_message(self, message: Message) -> None:
        """Drop what its widgets say once it is being closed: Textual looks for them, and they may be gone."""
        if not (
            self.leaving and isinstance(message, (Input.Changed, Input.Submitted, OptionList.OptionMessage))
        ):
            await super()._on_message(message)

    def dismiss(self, result: object = None) -> AwaitComplete:
        """Close the palette and cancel its search, unless it is closed or being closed."""
        if self.leaving or not self.is_current:
            return AwaitComplete()
        self.leaving = True
        self.workers.cancel_node(self)
        return super().dismiss(result)  # type: ignore[arg-type]
