"""The column of an answer on a ballot: its letter, or the name of its engine, and its text."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from paragone_tui.terminal.text import one_line
from paragone_tui.transcript import Transcript

__all__ = ["AnswerColumn"]


class AnswerColumn(Vertical):
    """Shows an answer."""

    DEFAULT_CSS = """
    AnswerColumn {
        width: 1fr;
        height: 1fr;
        border-left: vkey $surface-lighten-1;
        &.-first { border-left: none; }
        & .label { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, letter: str, *, markdown: bool) -> None:
        super().__init__()
        self._letter = letter
        self._label = Static(self._content(), classes="label", markup=False)
        self.transcript = Transcript(markdown=markdown)

    def compose(self) -> ComposeResult:
        """Create the label and the text."""
        yield self._label
        yield self.transcript

    def show_label(self, engine: str = "", verdict: str = "") -> None:
        """Show the letter, the name of the engine if it may be known, and what was voted."""
        self._label.update(self._content(engine, verdict))

    def _content(self, engine: str = "", verdict: str = "") -> Content:
        name = f"  {one_line(engine)}" if engine else ""
        return Content.assemble((self._letter, "bold"), name, (f"  {verdict}" if verdict else "", "bold"))

    def clear(self) -> None:
        """Remove the answer."""
        self.transcript.clear()

    def show_text(self, text: str) -> None:
        """Show a complete answer from its beginning, in place of what was shown."""
        transcript = self.transcript
        transcript.clear()
        transcript.write(text)
        self.end(is_empty=not text.strip())
        transcript.reveal(transcript.blocks[0], "")

    def end(self, *, is_empty: bool) -> None:
        """Note that the answer is complete."""
        self.transcript.end()
        if is_empty:
            self.transcript.add("note", "The answer is empty.")

    def fail(self, why: str = "") -> None:
        """Show that the answer failed; and why, if its engine may be known."""
        self.transcript.add("error", why or "This answer failed.")
