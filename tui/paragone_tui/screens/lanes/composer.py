"""The composer: the text field for prompts, shared by all lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import events
from textual.content import Content
from textual.widgets import TextArea

from paragone import Image
from paragone_tui.terminal.text import visible
from paragone_workbench.conversation.tree import Prompt

__all__ = ["Composer"]


class Composer(TextArea):
    """A text field that grows with its text, has attachments, and recalls earlier prompts."""

    DEFAULT_CSS = """
    Composer {
        height: auto;
        min-height: 1;
        min-width: 8;  /* in less, there is no room for its placeholder to wrap in */
        max-height: 8;
        border: none;
        border-top: solid $surface-lighten-2;
        padding: 0 1;
        background: $background;
        scrollbar-size-vertical: 1;
        &:focus { border: none; border-top: solid $surface-lighten-2; }
        & .text-area--cursor-line { background: $background; }
    }
    """

    def __init__(self, actions: Mapping[str, str]) -> None:
        """Create an empty composer. `actions` maps keys to actions of the screen."""
        super().__init__(compact=False, highlight_cursor_line=False, placeholder="Ask every lane …")
        self._actions = actions
        self.cursor_blink = False  # a blinking cursor writes 4 kB a second to an idle terminal
        self._recalled: int | None = None
        self._draft = ""
        self._images: tuple[Image, ...] = ()
        self.edited: Prompt | None = None
        """The earlier prompt that is being edited; None for a new prompt."""

    def edit_prompt(self, prompt: Prompt) -> None:
        """Edit an earlier prompt: load its text and its images."""
        self.edited = prompt
        self.text = prompt.text
        self.attach(prompt.images)
        self.move_cursor(self.document.end)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images attached to the prompt."""
        return self._images

    def attach(self, images: tuple[Image, ...]) -> None:
        """Set the attached images."""
        self._images = images
        self._show_title()

    def _show_title(self) -> None:
        names = ", ".join(visible(image.name) for image in self._images)
        edits = "editing an earlier prompt; both stay" if self.edited is not None else ""
        title = " · ".join(filter(None, (edits, f"with {names}" if names else "")))
        self.border_title = Content(title) if title else None

    async def _on_key(self, event: events.Key) -> None:
        """Run the screen's action for a key, in order with the typed characters.

        A priority binding would overtake them: of "hello⏎" typed at once, only a part would be sent.
        """
        action = next(
            (self._actions[key] for key in (event.key, *event.aliases) if key in self._actions), None
        )
        if action is None:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        await self.run_action(f"screen.{action}")

    def take(self) -> tuple[str, tuple[Image, ...]]:
        """Return the text and the images, and clear the composer."""
        taken = self.text, self.images
        self.text = ""
        self.edited = None
        self.attach(())
        self._recalled = None
        return taken

    def recall(self, prompts: Sequence[str], step: int) -> None:
        """Show an earlier (`step` -1) or later (1) prompt; after the last one comes the unsent draft."""
        if not prompts:
            return
        place = len(prompts) if self._recalled is None else self._recalled
        if place == len(prompts):
            self._draft = self.text
        place = max(0, min(place + step, len(prompts)))
        self._recalled = None if place == len(prompts) else place
        self.text = self._draft if self._recalled is None else prompts[place]
        self.move_cursor(self.document.end)
