"""A text field in which `@path` attaches a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets.text_area import Edit, EditResult

from paragone_tui.screens.lanes.prompt.attachments import Attachments
from paragone_tui.screens.lanes.prompt.completion import Completion
from paragone_tui.widgets.text_field import TextField
from paragone_workbench.conversation.attachments.mentions import mention_at, mentions, written

if TYPE_CHECKING:
    from paragone_tui.program import Program


class MentionField(TextField):
    """A field that completes a mention while the user types it, and attaches the mentioned files."""

    def __init__(self, program: Program) -> None:
        """Create an empty field."""
        super().__init__(compact=False, highlight_cursor_line=False)
        self.attachments = Attachments(program=program, on_change=self._show_title)
        self.completion = Completion(self._complete)
        """The list of files above the field. The screen must add this widget."""
        self._mentions = False
        """Whether the user is typing a mention, which ends at the cursor."""

    def _show_title(self) -> None:
        """Show the attached files and images. `Composer` overrides this method, which does nothing."""

    def edit(self, edit: Edit) -> EditResult:
        """Perform an edit, and complete the mention that the user is typing."""
        result = super().edit(edit)
        self._follow_mention(typed=len(edit.text) <= 1)
        return result

    @property
    def _before(self) -> str:
        """The part of the cursor's line before the cursor."""
        row, column = self.cursor_location
        return self.document.get_line(row)[:column]

    def _follow_mention(self, *, typed: bool) -> None:
        """Complete the mention that the user is typing. A pasted mention is plain text, since others may have written it."""
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
        """Attach the file that the user has just mentioned, if there is one."""
        if self._mentions:
            self._mentions = False
            before = self._before
            for mention in mentions(before):
                if mention.end >= len(before) - 1:  # earlier mentions in the line may have been pasted
                    self.attachments.name(mention.path)

    def on_blur(self) -> None:
        """Close the list of completions when another widget gets the focus."""
        self.completion.close()

    def _complete(self, path: str) -> None:
        """Replace the mention that the user is typing with a path. Attach a file; for a folder, list the folder's files."""
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
        """Whether `settle` has nothing to do."""
        return not self._mentions and self.attachments.is_settled(self.text)

    async def settle(self) -> bool:
        """Read the present content of the mentioned files. Returns whether all files are attached."""
        self._finish_mention()
        return await self.attachments.settle(self.text)
