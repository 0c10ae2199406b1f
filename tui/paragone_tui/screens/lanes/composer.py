"""The composer: the text field for prompts, shared by all lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content

from paragone_tui.keys import composer_binding
from paragone_tui.terminal.text import visible
from paragone_tui.widgets.text_field import TextField, is_editable, size_of
from paragone_workbench.conversation.tree import Prompt

if TYPE_CHECKING:
    from paragone import Image
    from paragone_tui.program import Program


class Composer(TextField):
    """A text field that grows with its text, has attachments, and recalls earlier prompts."""

    BINDINGS: ClassVar[list[BindingType]] = [composer_binding()]
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
        &:focus { border: none; border-top: solid $primary; }
        & .text-area--cursor-line { background: $background; }
    }
    """

    def __init__(self, actions: Mapping[str, str], when_empty: Mapping[str, str], program: Program) -> None:
        """Create an empty composer.

        `actions` maps keys to Textual actions. `when_empty` does so for characters that are commands as
        long as there is no text.
        """
        super().__init__(compact=False, highlight_cursor_line=False, placeholder="Ask all lanes …")
        self._actions = actions
        self._when_empty = when_empty
        self._program = program
        self._recalled: int | None = None
        self._draft = ""
        self._pasted: tuple[str, ...] = ()
        self._images: tuple[Image, ...] = ()
        self._note = ""
        self._message = Content()
        self.edited: Prompt | None = None
        """The earlier prompt that is being edited; None for a new prompt."""

    def edit_prompt(self, prompt: Prompt) -> None:
        """Edit an earlier prompt: load its text and its images."""
        self.edited = prompt
        self._load(prompt.text)
        self.attach(prompt.images)
        self.move_cursor(self.document.end)

    @property
    def prompt(self) -> str:
        """The text of the prompt: what is typed, and below it the texts that were pasted and are too long to edit."""
        return "\n\n".join(filter(None, (self.text, *self._pasted)))

    def _load(self, text: str) -> None:
        """Show a text; attach it if it is too long to edit."""
        self._pasted = () if is_editable(text) else (text,)
        self.text = "" if self._pasted else text
        self._show_title()

    @property
    def images(self) -> tuple[Image, ...]:
        """The images attached to the prompt."""
        return self._images

    def attach(self, images: tuple[Image, ...]) -> None:
        """Set the attached images."""
        self._images = images
        self._show_title()

    @property
    def title(self) -> Content:
        """What the rule above the prompt says about the prompt."""
        pasted = f"{' and '.join(map(size_of, self._pasted))} of pasted text" if self._pasted else ""
        names = ", ".join(filter(None, (pasted, *(visible(image.name) for image in self._images))))
        edits = "editing an earlier prompt; both stay" if self.edited is not None else ""
        return Content(" · ".join(filter(None, (edits, f"with {names}" if names else "", self._note))))

    def show_note(self, note: str) -> None:
        """Show something to know while writing a prompt in the rule above; an empty one ends that."""
        self._note = note
        self._show_title()

    def show_message(self, message: Content) -> None:
        """Show a message in the rule above the prompt; an empty one ends that."""
        self._message = message
        self._show_title()

    def _show_title(self) -> None:
        shown = Content(" · ").join(filter(None, (self.title, self._message)))
        self.border_title = Content.assemble(" ", shown, " ") if shown else None

    async def on_key(self, event: events.Key) -> None:
        """Run the action of a key, in order with the typed characters.

        A priority binding would overtake them: of "hello⏎" typed at once, only a part would be sent.
        """
        action = self._action(event)
        if action is None:
            if event.key == "backspace" and not self.text and self._pasted:
                self._pasted = self._pasted[:-1]
                self._show_title()
            return
        event.stop()
        event.prevent_default()
        await self.run_action(action)

    async def on_paste(self, event: events.Paste) -> None:
        """Attach a paste that would make the text too long to edit; otherwise, Textual inserts it."""
        if not is_editable(self.text + event.text):
            event.stop()
            event.prevent_default()
            # Terminals and tmux send the ends of lines as CR.
            self._pasted += (event.text.replace("\r\n", "\n").replace("\r", "\n"),)
            self._show_title()
            self._program.say(
                "The pasted text is attached to the prompt. Backspace in the empty field removes it."
            )

    def _action(self, event: events.Key) -> str | None:
        if event.key == "ctrl+c" and self.selected_text:
            return None  # it copies the selection
        if not self.text and event.character and event.character in self._when_empty:
            return self._when_empty[event.character]
        names = (event.key, *event.aliases)
        return next((self._actions[name] for name in names if name in self._actions), None)

    def take(self) -> tuple[str, tuple[Image, ...]]:
        """Return the text and the images, and clear the composer."""
        taken = self.prompt, self.images
        self._load("")
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
            self._draft = self.prompt
        place = max(0, min(place + step, len(prompts)))
        self._recalled = None if place == len(prompts) else place
        self._load(self._draft if self._recalled is None else prompts[place])
        self.move_cursor(self.document.end)
