"""The composer, in which the user writes prompts, and the gauge of the contexts that the prompt would fill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.reactive import var
from textual.widgets.text_area import Edit, EditResult

from paragone_tui.keys import composer_binding
from paragone_tui.screens.lanes.attachments import Attachments, Completion, Draft, PastedTexts, is_long
from paragone_tui.terminal.cells import shortened
from paragone_tui.terminal.text import bar, one_line, visible
from paragone_tui.widgets.fields import TextField, is_editable
from paragone_workbench.conversation.tree import Prompt, mention_at, mentions, written
from paragone_workbench.store.records import NO_DRAFT, DraftRecord

if TYPE_CHECKING:
    from paragone_tui.program_app import ProgramApp
    from paragone_workbench.lanes.forecast import Forecast
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import QueuedPrompt


_Asked: TypeAlias = "tuple[Draft, Prompt | None, tuple[Run | None, ...]]"
"""A draft, the earlier prompt that it replaces or None, and for each lane the answer that it follows."""

_PAUSE = 0.4
"""Seconds without a key press after which the gauge asks the engines for the number of tokens."""
_CELLS = 6

_EACH = 2
"""Largest number of lanes for which the gauge shows all counts: more do not fit into a usual terminal."""


class ContextGauge:
    """Asks the engines how many tokens the prompt would have, once the user pauses and no engine is answering."""

    def __init__(self, session: Session, on_change: Callable[[], None]) -> None:
        """Create an empty gauge. `on_change` is called when the gauge's content changes."""
        self.content = Content()
        self._session = session
        self._on_change = on_change
        self._found: Sequence[Forecast] = ()
        self._asking: asyncio.Task[None] | None = None
        self._counting = asyncio.Lock()
        self._asked: _Asked | None = None

    def start_count(self, draft: Draft, edited: Prompt | None) -> None:
        asked = draft, edited, tuple(lane.record.head for lane in self._session.lanes)
        if asked == self._asked:
            return
        self.stop()
        self._found = ()
        self._asked = asked
        if not (draft.typed.strip() or draft.files):
            self._show(())
            return
        self._asking = asyncio.create_task(self._ask(asked))

    def refusal(self, draft: Draft, lanes: Sequence[Lane]) -> str:
        """Return the reason if all these lanes would refuse this draft; empty if at least one lane may accept it."""
        if self._asked is None or self._asked[0] != draft or not lanes:
            return ""
        refusing = {one.lane: one_line(one.warning) for one in self._found if one.is_refused}
        if not all(lane.name in refusing for lane in lanes):
            return ""
        return ". ".join(refusing[lane.name] for lane in lanes) + "."

    def stop(self) -> None:
        self._asked = None
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, asked: _Asked) -> None:
        await asyncio.sleep(_PAUSE)
        await asyncio.gather(*(lane.engine.opened() for lane in self._session.lanes))
        await self._session.answered()
        # A count that has begun continues, and the next count waits for it, because engines cannot cancel counts.
        await asyncio.shield(asyncio.create_task(self._count(asked)))

    async def _count(self, asked: _Asked) -> None:
        from paragone_workbench.lanes.forecast import forecasts

        async with self._counting:
            if asked != self._asked:
                return
            draft, edited, _ = asked
            found = await forecasts(
                self._session, draft.text, files=draft.files, images=draft.images, instead_of=edited
            )
        if asked == self._asked:
            self._show(found)

    def _show(self, found: Sequence[Forecast]) -> None:
        self._found = found
        content = _content(found)
        if content != self.content:
            self.content = content
            self._on_change()


def _content(found: Sequence[Forecast]) -> Content:
    """Return the warnings, the counts of lanes whose context suffices, and a bar of the fullest context. If all counts
    are equal, one count is shown without a lane. For many lanes, only the fullest lane's count is shown."""
    if not found:
        return Content()
    warnings = [Content.styled(one_line(one.warning), "$text-warning") for one in found if one.warning]
    fitting = [one for one in found if not one.is_refused]
    counts = {one.lane: f"{one.tokens:,} of {one.context:,}" for one in fitting}
    counts_shown = [f"{one_line(lane)} {count}" for lane, count in counts.items()]
    if len(fitting) > _EACH:
        fullest_lane = max(fitting, key=lambda one: one.tokens / one.context).lane
        counts_shown = [f"fullest: {one_line(fullest_lane)} {counts[fullest_lane]}"]
    if len(found) == len(counts) and len({*counts.values()}) == 1:
        counts_shown = [*counts.values()][:1]
    added = {one.added for one in fitting}
    more = next(iter(added)) if len(added) == 1 else None
    gauge = (
        f"{'' if more is None else f'{more:,} more, '}{', '.join(counts_shown)} tokens "
        if counts_shown
        else ""
    )
    fullest = max(min(1, one.tokens / one.context) for one in found)
    filled = bar(fullest, _CELLS)
    return Content(" · ").join([*warnings, Content(f"{gauge}{filled}{'░' * (_CELLS - len(filled))}")])


_BY_WORDS = ("alt+left", "alt+right")
"""Keys that move the cursor by a word."""
_AROUND_MESSAGE = 8
"""Number of cells of the rule above the prompt that a message leaves free."""
_FOLDED = "The pasted text is folded, and sent in full. Backspace removes it."
_ROWS = 8
"""Largest height of the composer in rows, including the rule above the prompt."""
_USUAL_WIDTH = 80
"""Width in cells that the composer assumes until its real width is known."""


class Composer(TextField):
    """A text field that grows with its text, completes mentions of files and attaches the files, and recalls earlier
    prompts. Undo restores each earlier text of the field."""

    BINDINGS: ClassVar[list[BindingType]] = [composer_binding()]
    DEFAULT_CSS = """
    Composer {
        height: auto;
        min-height: 1;
        min-width: 8;  /* a narrower field has no room for its placeholder */
        border: none;
        border-top: solid $surface-lighten-2;
        padding: 0 1;
        background: $background;
        scrollbar-size-vertical: 1;
        &:focus { border: none; border-top: solid $primary; }
        & .text-area--cursor-line { background: $background; }
    }
    """

    below: var[Content] = var(Content())
    """The message that does not fit into the rule above the prompt; empty without such a message."""

    def __init__(
        self,
        actions: Mapping[str, str],
        when_empty: Mapping[str, str],
        program: ProgramApp,
        session: Session,
    ) -> None:
        """Create an empty composer for the lanes of a session. `actions` maps keys to Textual actions. `when_empty` maps
        characters to actions for a composer without text."""
        super().__init__(compact=False, highlight_cursor_line=False)
        self.attachments = Attachments(program=program, on_change=self._show_title)
        self.completion = Completion(self._complete)
        """The list of files above the field. The screen must add this widget."""
        self._mentions = False
        self._actions = actions
        self._when_empty = when_empty
        self._program = program
        self._lanes: tuple[str, ...] = ()
        self._recalled: int | None = None
        self._recalled_text = ""
        self._draft = ""
        self._pasted = PastedTexts()
        self._folded = ""
        """The mark of the text that was pasted last, while the mark is in the composer."""
        self._refusal = ""
        """Why the current text was not sent; empty if it was not refused."""
        self.gauge = ContextGauge(session, self._show_title)
        self._note = ""
        self._message = Content()
        self.editing: Prompt | QueuedPrompt | None = None
        self._edit_title: Callable[[], str] = str
        self._before_edit = Draft(pasted=self._pasted)
        self._unedited = ""
        self._sent = ""
        """The composer's text that was sent last, if files were attached; else empty."""

    def set_lanes(self, lanes: Sequence[str]) -> None:
        if self._lanes != (named := tuple(lanes)):
            self._lanes = named
            self._show_placeholder()

    def on_resize(self) -> None:
        self._show_placeholder()
        self._show_title()

    def limit_height(self, rows: int) -> None:
        """Limit the height to half of the terminal's `rows`, so that answers stay visible."""
        self.styles.max_height = max(2, min(_ROWS, rows // 2))

    def _show_placeholder(self) -> None:
        match self._lanes:
            case ():
                whom = ""
            case (name,):
                room = (self.content_size.width or _USUAL_WIDTH) - len("Ask  … ")
                whom = f"{shortened(visible(name), (), max(room, 1))} "
            case (_, _):
                whom = "both "
            case _:
                whom = f"all {len(self._lanes)} lanes "
        self.placeholder = f"Ask {whom}…"

    @property
    def edited(self) -> Prompt | None:
        return self.editing if isinstance(self.editing, Prompt) else None

    def edit_prompt(self, prompt: Prompt | QueuedPrompt, title: Callable[[], str]) -> None:
        """Edit a prompt, with its files and images. `title` returns a text on the edit and on how to end the edit."""
        if self.editing is None:
            files, images = self.attachments.files, self.attachments.images
            self._before_edit = Draft(typed=self.text, pasted=self._pasted, files=files, images=images)
        self.editing, self._edit_title = prompt, title
        self.load(_written(prompt))
        self._unedited = self.text
        self.attachments.take_over(prompt.files, prompt.images)

    def resume_edit(self, prompt: Prompt, title: Callable[[], str]) -> None:
        """Treat the restored text as an edit of an earlier prompt, which the end of the program interrupted."""
        self._before_edit = Draft(pasted=self._pasted)
        self._edit_title, self._unedited = title, prompt.written
        self.editing = prompt
        self.attachments.take_over(prompt.files, prompt.images)

    def end_edit(self) -> None:
        before = self._before_edit
        self.editing = None
        self.attachments.keep(before.typed)
        self.put(before.typed)
        self.attachments.take_over(before.files, before.images)

    def leave_conversation(self) -> None:
        """End the edit of a prompt because its conversation is being closed, and keep the text as a new prompt."""
        self.editing = None
        self._before_edit = Draft(pasted=self._pasted)
        self._recalled = None
        self._show_title()

    def action_undo(self) -> None:
        """Undo the last change. If undo restores the text from before an edit, end the edit."""
        super().action_undo()
        if self.text and self.text == self._sent:
            self.attach_mentions()
        if self.editing is not None and self.text == self._before_edit.typed != _written(self.editing):
            self.end_edit()

    @property
    def prompt(self) -> str:
        return self.draft.text

    def load(self, text: str) -> None:
        """Show a text, or a mark in its place if the text is too long to edit. Undo restores the earlier text."""
        self.put(text if is_editable(text) else self._pasted.fold(text))

    def unfold(self) -> None:
        if is_editable(self.prompt):
            self.put(self.prompt)

    @property
    def draft(self) -> Draft:
        files, images = self.attachments.of(self.text)
        return Draft(typed=self.text, pasted=self._pasted, files=files, images=images)

    @property
    def unsent(self) -> DraftRecord:
        """The unsent text to save: the edit of a prompt if it has changed the prompt, else the text for a new prompt."""
        text, edits = self.text, "" if self.edited is None else self.edited.id
        if self.editing is not None and (not text.strip() or text == self._unedited):
            text, edits = self._before_edit.typed, ""
        if not text.strip():
            return NO_DRAFT
        return DraftRecord(
            text=text, pasted=self._pasted.marked(text), named=self.attachments.paths(text), edits=edits
        )

    def restore(self, draft: DraftRecord) -> None:
        """Restore the text that an earlier instance of the program left unsent, and attach the files that the text
        mentions. Text that the user has typed since the start stays below the restored text."""
        self._pasted.take_over(draft.pasted)
        self.load("\n".join(filter(None, (draft.text, self.text))))
        for path in draft.named:
            self.attachments.name(path)

    @property
    def title(self) -> Content:
        """The text in the rule above the prompt: the edit, the attachments, a note and the gauge."""
        names = visible(self.attachments.described(self.text))
        parts = (
            Content(self._edit_title() if self.editing is not None else ""),
            Content(f"with {names}" if names else ""),
            Content(self._note),
            self.gauge.content,
        )
        return Content(" · ").join(filter(None, parts))

    def on_unmount(self) -> None:
        self.gauge.stop()

    def refuse(self, why: str) -> None:
        self._refusal = why
        self._program.say(why, warning=True)

    def show_note(self, note: str) -> None:
        self._note = note
        self._show_title()

    def show_message(self, message: Content) -> None:
        """Show a message in the rule above the prompt, or below the prompt if the rule is too short; empty for no message."""
        self._message = message
        self._show_title()

    def update_gauge(self) -> None:
        """Have the gauge count the tokens of the current draft."""
        self.gauge.start_count(self.draft, self.edited)

    def _show_title(self) -> None:
        self.update_gauge()
        title = self.title
        room = (self.size.width or _USUAL_WIDTH) - title.cell_length - _AROUND_MESSAGE
        fits = self._message.cell_length <= room
        shown = Content(" · ").join(filter(None, (title, self._message if fits else None)))
        self.border_title = Content.assemble(" ", shown, " ") if shown else None
        self.below = Content() if fits else self._message

    async def on_key(self, event: events.Key) -> None:
        """Run the action of a key, in order with the typed characters. A priority binding would overtake the characters:
        of "hello" and Enter in one burst, only a part would be sent."""
        if await self.completion.handle_key(event):
            event.stop()
            event.prevent_default()
            return
        action = self._action(event)
        if action is None and event.key == "backspace" and not self.text:
            self.attachments.drop_last()
        elif action is not None:
            event.stop()
            event.prevent_default()
            await self.run_action(action)

    async def on_paste(self, event: events.Paste) -> None:
        """Fold a long paste into a mark. Textual inserts a short paste."""
        text = event.text.replace("\r\n", "\n").replace(
            "\r", "\n"
        )  # terminals and tmux send CR for a line break
        if is_long(text) or not is_editable(self.text + text):
            event.stop()
            event.prevent_default()
            self._folded = self._pasted.fold(text)
            self.replace(self._folded, *self.selection, maintain_selection_offset=False)
            self._program.say(_FOLDED)

    def edit(self, edit: Edit) -> EditResult:
        """Perform an edit. A mark of a pasted text is deleted as a whole, and no text is inserted inside a mark."""
        (top, left), (bottom, right) = edit.top, edit.bottom
        start, after_start = self._pasted.mark_around(self.document.get_line(top), left)
        _, end = self._pasted.mark_around(self.document.get_line(bottom), right)
        if edit.top == edit.bottom:
            start = end = after_start
        if (start, end) != (left, right):
            edit = Edit(edit.text, (top, start), (bottom, end), edit.maintain_selection_offset)
        result = super().edit(edit)
        self._follow_mention(typed=len(edit.text) <= 1)
        return result

    def _action(self, event: events.Key) -> str | None:
        if event.key == "ctrl+c" and self.selected_text:
            return None  # ctrl+c copies the selection
        if not self.text and event.character and event.character in self._when_empty:
            return self._when_empty[event.character]
        if event.key in ("up", "down") and not self._recalls_at(event.key):
            return None  # the key moves the cursor
        if event.key in _BY_WORDS and self.text:
            return None  # the key moves the cursor
        return next((self._actions[name] for name in event.aliases if name in self._actions), None)

    def _recalls_at(self, key: str) -> bool:
        """Return whether up or down recalls another prompt: only in an empty prompt, or at the edge of a recalled prompt."""
        if self.text and not self._shows_recalled:
            return False
        place, cursor = self.navigator, self.cursor_location
        if key == "up":
            return place.is_first_document_line(cursor) and place.is_first_wrapped_line(cursor)
        return place.is_last_document_line(cursor) and place.is_last_wrapped_line(cursor)

    @property
    def _shows_recalled(self) -> bool:
        return self._recalled is not None and self.text == self._recalled_text

    def on_text_area_changed(self) -> None:
        """Update the attachments: the user may have removed the mention of a file, or restored a mention by undo."""
        self.attachments.remove_messages(self.text)
        if self._folded and self._folded not in self.text:
            self._folded = ""
            self._program.remove_message(_FOLDED)
        if self._refusal:
            self._program.remove_message(self._refusal)
            self._refusal = ""
        self._show_title()

    def take(self) -> Draft:
        """Return the draft to send, and empty the composer. If the draft edits an earlier prompt, restore the draft from
        before the edit."""
        taken = self.draft
        self._sent = self.text if taken.files or taken.images else ""
        if self.editing is None:
            self._before_edit = Draft(pasted=self._pasted)
        self.end_edit()
        self._before_edit = Draft(pasted=self._pasted)
        self._recalled = None
        self._show_title()
        return taken

    def recall(self, prompts: Sequence[str], step: int) -> None:
        """Show an earlier (`step` -1) or later (1) prompt. After the last prompt comes the unsent draft."""
        if not prompts:
            return
        if self._shows_recalled and self._recalled is not None:
            place = self._recalled
        else:
            place, self._draft = len(prompts), self.text
        place = max(0, min(place + step, len(prompts)))
        self._recalled = None if place == len(prompts) else place
        self.load(self._draft if self._recalled is None else prompts[place])
        self._recalled_text = self.text

    # Mentions of files

    @property
    def _before(self) -> str:
        row, column = self.cursor_location
        return self.document.get_line(row)[:column]

    def _follow_mention(self, *, typed: bool) -> None:
        """Complete the mention that the user is typing. A pasted mention is plain text, because a third party may
        have written it."""
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
        if self._mentions:
            self._mentions = False
            before = self._before
            for mention in mentions(before):
                if mention.end >= len(before) - 1:  # earlier mentions in the line may have been pasted
                    self.attachments.name(mention.path)

    def on_blur(self) -> None:
        self.completion.close()

    def _complete(self, path: str) -> None:
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

    def attach_mentions(self) -> None:
        """Attach all files that the text mentions. Use this method only for texts that the user has sent before."""
        for mention in mentions(self.text):
            self.attachments.name(mention.path)

    @property
    def is_settled(self) -> bool:
        return not self._mentions and self.attachments.is_settled(self.text)

    async def settle(self) -> bool:
        self._finish_mention()
        return await self.attachments.settle(self.text)


def _written(prompt: Prompt | QueuedPrompt) -> str:
    return prompt.written if isinstance(prompt, Prompt) else prompt.text
