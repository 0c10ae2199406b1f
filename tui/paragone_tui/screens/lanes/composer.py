"""The composer: the text field for prompts, shared by all lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.widgets.text_area import Edit, EditResult

from paragone_tui.keys import composer_binding
from paragone_tui.screens.lanes.attachments import Attachments, Draft
from paragone_tui.screens.lanes.completion import Completion
from paragone_tui.screens.lanes.context_gauge import ContextGauge
from paragone_tui.terminal.text import visible
from paragone_tui.widgets.text_field import TextField, is_editable, size_of
from paragone_workbench.conversation.attachments.mentions import mention_at, mentions, written
from paragone_workbench.conversation.tree import Prompt

if TYPE_CHECKING:
    from paragone_tui.program import Program
    from paragone_workbench.lanes.queue import QueuedPrompt
    from paragone_workbench.lanes.session import Session


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

    def __init__(
        self,
        actions: Mapping[str, str],
        when_empty: Mapping[str, str],
        program: Program,
        session: Session,
    ) -> None:
        """Create an empty composer for the lanes of a session.

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
        self.attachments = Attachments(program=program, on_change=self._show_title)
        self.completion = Completion(self._complete)
        """The list of files above the composer, which the screen shows."""
        self.gauge = ContextGauge(session, self._show_title)
        self._mentions = False
        """Whether the user is typing the mention of a file before the cursor."""
        self._note = ""
        self._message = Content()
        self.edited: Prompt | None = None
        """The earlier prompt that is being edited; None for a new prompt."""
        self.queued: QueuedPrompt | None = None
        """The prompt of the queue that is being edited; None for a new prompt."""

    def edit_prompt(self, prompt: Prompt) -> None:
        """Edit an earlier prompt: load its text, its files and its images."""
        self.edited = prompt
        self._load(prompt.written)
        self.attachments.take_over(prompt)
        self.move_cursor(self.document.end)

    def edit_queued(self, queued: QueuedPrompt) -> None:
        """Edit a prompt of the queue: load its text, its files and its images."""
        self.queued = queued
        self._load(queued.text)
        self.attachments.take_over(queued)
        self.move_cursor(self.document.end)

    @property
    def prompt(self) -> str:
        """The text of the prompt: what is typed, and below it the texts that were pasted and are too long to edit."""
        return self.draft.text

    def _load(self, text: str) -> None:
        """Show a text; attach it if it is too long to edit."""
        self._pasted = () if is_editable(text) else (text,)
        self.text = "" if self._pasted else text
        self._show_title()

    def rewrite(self, text: str) -> None:
        """Replace what is typed; undo brings that back."""
        self.replace(text, (0, 0), self.document.end)

    @property
    def draft(self) -> Draft:
        """The prompt as it would be sent now."""
        files, images = self.attachments.of(self.text)
        return Draft(typed=self.text, pasted=self._pasted, files=files, images=images)

    @property
    def title(self) -> Content:
        """What the rule above the prompt says about the prompt."""
        pasted = f"{' and '.join(map(size_of, self._pasted))} of pasted text" if self._pasted else ""
        names = ", ".join(filter(None, (pasted, visible(self.attachments.described(self.text)))))
        edits = "editing an earlier prompt; both stay" if self.edited is not None else ""
        if self.queued is not None:
            edits = "editing a prompt that waits; ctrl+c keeps it as it was"
        parts = (
            Content(edits),
            Content(f"with {names}" if names else ""),
            Content(self._note),
            self.gauge.content,
        )
        return Content(" · ").join(filter(None, parts))

    def on_unmount(self) -> None:
        """Ask the engines nothing more."""
        self.gauge.stop()

    def show_note(self, note: str) -> None:
        """Show something to know while writing a prompt in the rule above; an empty one ends that."""
        self._note = note
        self._show_title()

    def show_message(self, message: Content) -> None:
        """Show a message in the rule above the prompt; an empty one ends that."""
        self._message = message
        self._show_title()

    def _show_title(self) -> None:
        self.gauge.follow(self.draft, self.edited)
        shown = Content(" · ").join(filter(None, (self.title, self._message)))
        self.border_title = Content.assemble(" ", shown, " ") if shown else None

    async def on_key(self, event: events.Key) -> None:
        """Run the action of a key, in order with the typed characters.

        A priority binding would overtake them: of "hello⏎" typed at once, only a part would be sent.
        """
        if await self.completion.takes(event):
            event.stop()
            event.prevent_default()
            return
        action = self._action(event)
        if action is None:
            if event.key == "backspace" and not self.text and not self.attachments.drop_last():
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

    def edit(self, edit: Edit) -> EditResult:
        """Change the text, and complete the mention of a file that the user is typing."""
        result = super().edit(edit)
        self._follow_mention(typed=len(edit.text) <= 1)
        return result

    @property
    def _before(self) -> str:
        """The text before the cursor in its line."""
        row, column = self.cursor_location
        return self.document.get_line(row)[:column]

    def _follow_mention(self, *, typed: bool) -> None:
        """Follow what is typed before the cursor. A pasted mention is text: others may have written it."""
        before = self._before
        mention = mention_at(before, len(before)) if typed and "@" in before else None
        if mention is not None:
            self._mentions = True
            self.completion.complete(mention.path)
            return
        self.completion.close()
        if typed:
            self._finish_mention()
        self._mentions = False

    def _finish_mention(self) -> None:
        """Attach what the user has just mentioned, if anything."""
        if self._mentions:
            self._mentions = False
            before = self._before
            for mention in mentions(before):
                if mention.end >= len(before) - 1:  # else it may have been pasted
                    self.attachments.name(mention.path)

    def on_blur(self) -> None:
        """Complete nothing while the user does something else."""
        self.completion.close()

    def on_text_area_changed(self) -> None:
        """Show what is attached now: a mention may have gone, or have come back by undo."""
        self._show_title()

    def _complete(self, path: str) -> None:
        """Replace the mention that is being typed by a path; a file is attached, in a folder typing goes on."""
        row, column = self.cursor_location
        mention = mention_at(self._before, column)
        self.completion.close()
        if mention is None:
            return
        is_folder = path.endswith("/")
        text = written(path)
        self.replace(text.removesuffix('"') if is_folder else f"{text} ", (row, mention.start), (row, column))
        self._mentions = is_folder
        if is_folder:
            self.completion.complete(path)
        else:
            self.attachments.name(path)

    def name_mentions(self) -> None:
        """Attach what the text mentions, as the user has sent it before."""
        for mention in mentions(self.text):
            self.attachments.name(mention.path)

    @property
    def is_settled(self) -> bool:
        """Whether the prompt mentions no file that may still have to be read."""
        return not self._mentions and self.attachments.is_settled(self.text)

    async def settle(self) -> bool:
        """Read the mentioned files as they are now. Returns whether all of them are attached."""
        self._finish_mention()
        return await self.attachments.settle(self.text)

    def take(self) -> Draft:
        """Return what is to be sent, and clear the composer."""
        taken = self.draft
        self.attachments.clear()
        self._load("")
        self.edited = self.queued = None
        self._recalled = None
        self._show_title()
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
