"""The transcript widget. Repaints only changed rows, at the same moments as the other lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from paragone import Channel
from paragone_tui.painting.cadence import Cadence
from paragone_tui.transcript.block import GUTTER, Block, Kind
from paragone_tui.transcript.page import Page
from paragone_tui.transcript.palette import COMPONENTS, CSS, Palette, palette_of
from paragone_tui.transcript.typesetter import Typesetter

__all__ = ["Transcript"]

_MEASURE = 100
"""Maximum width of a row of text in cells; longer rows are hard to read."""
_WHEEL = 3
"""Rows to scroll per notch of the mouse wheel."""
_MORE = " ↓ more "
_NOWHERE = Size(0, 0)


class Transcript(Widget):
    """Shows the prompts, answers and notes of a lane while they arrive.

    While the end is visible, the view follows new text, several rows at a time; scrolling up stops
    that. All text is made safe to print, and only the Markdown of answers is interpreted. Blocks may
    be added before the widget is mounted.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)
    DEFAULT_CSS = CSS

    def __init__(
        self,
        *,
        markdown: bool = True,
        fold_thinking: bool = False,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's name for it
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._following = True
        self._fold_thinking = fold_thinking
        self._page = Page()
        self._open: Block | None = None
        self._top = 0
        self._painted: list[Strip] = []
        self._laid_out = _NOWHERE
        self._palette: Palette = {}
        self._changed: Block | None = None
        self._sought: tuple[Block, str] | None = None
        """What to scroll to at the first layout."""
        self._typesetter = Typesetter(self, markdown)
        self._cadence = Cadence(lambda: self.call_later(self._flush))

    # Content

    @property
    def blocks(self) -> Sequence[Block]:
        """The blocks, oldest first."""
        return self._page.blocks

    def add(self, kind: Kind, text: str = "", *, hint: str = "", log: Sequence[str] = ()) -> Block:
        """Append a complete block and return it.

        The `log` lines and the `hint`, which says what to do, are shown below the text, such as for
        a crash. If the block is a prompt, the view scrolls to the end.
        """
        block = Block(kind, hint=hint, log=log)
        block.append(text)
        self._append(block)
        self._finish(block)
        if kind == "prompt":
            self._following = True
        return block

    def write(self, text: str, channel: Channel = "answer") -> None:
        """Append a chunk of streamed text. It is painted with the next frame.

        The first chunk begins a block. A chunk of the other channel ends that block and begins another.
        """
        if not text:
            return
        block = self._open
        if block is None or block.kind != channel:
            self.end()
            block = self._open = Block(channel)
            self._append(block)
        block.append(text)
        self._touch(block)

    def end(self) -> None:
        """End the streamed block, if there is one. A complete answer is typeset as Markdown."""
        block, self._open = self._open, None
        if block is not None:
            self._finish(block)

    def rewind(self) -> None:
        """Remove everything after the last prompt, to make room for another answer."""
        self.end()
        prompt = next((block for block in reversed(self.blocks) if block.kind == "prompt"), None)
        self._page.cut(prompt)
        self._changed = None
        self._following = True
        start = prompt.start if prompt else 0
        self._show(max(self._end, min(self._top, start)))

    def clear(self) -> None:
        """Remove all blocks."""
        self._open = self._changed = self._sought = None
        self._page = Page()
        self._top = 0
        self._following = True
        self._laid_out = _NOWHERE
        self.refresh()

    @property
    def text(self) -> str:
        """The visible text, one line per row."""
        return "\n".join(strip.text.rstrip() for strip in self._painted)

    # Options

    @property
    def markdown(self) -> bool:
        """Whether complete answers are typeset as Markdown instead of shown as plain text."""
        return self._typesetter.wanted

    @markdown.setter
    def markdown(self, wanted: bool) -> None:
        if wanted == self._typesetter.wanted:
            return
        self._typesetter.wanted = wanted
        self._rearrange(self._restyle)
        self._typeset()

    @property
    def fold_thinking(self) -> bool:
        """Whether thinking is shown as one line instead of in full."""
        return self._fold_thinking

    @fold_thinking.setter
    def fold_thinking(self, fold: bool) -> None:
        self._fold_thinking = fold
        self._rearrange(self._fold)

    def _restyle(self) -> None:
        for block in self.blocks:
            block.repaint()
        if self._laid_out:
            self._typesetter.set_at_once(self._page, self._palette)

    def _fold(self) -> None:
        for block in self.blocks:
            block.folded = self._fold_thinking and block.kind == "thinking"

    def _append(self, block: Block) -> None:
        block.folded = self._fold_thinking and block.kind == "thinking"
        self._page.add(block)
        self._touch(block)

    def _finish(self, block: Block) -> None:
        block.finish()
        self._touch(block)
        self._typeset()

    def _typeset(self) -> None:
        if self._laid_out:
            self._typesetter.start(self._page, self._palette, self._rearrange)

    # Scrolling

    @property
    def following(self) -> bool:
        """Whether the view scrolls with new text."""
        return self._following

    @property
    def _end(self) -> int:
        """Index of the top row when the last row is at the bottom of the view."""
        return max(0, self._page.height - self.size.height)

    def to_end(self) -> None:
        """Scroll to the end and follow new text."""
        self._flush()
        self._following = True
        self._show(max(self._top, self._end))

    def to_start(self) -> None:
        """Scroll to the beginning."""
        self.scroll_rows(-self._page.height)

    def scroll_pages(self, pages: float) -> None:
        """Scroll down by a number of screenfuls; up if it is negative."""
        self.scroll_rows(round(pages * max(1, self.size.height - 2)))

    def reveal(self, block: Block, text: str) -> None:
        """Scroll to the place in a block where a text begins; to the start of the block if it is not there."""
        self._sought = block, text
        if self._laid_out:
            self._flush()
            self._show(self._seek())
        else:
            self._following = False  # `_lay_out` scrolls

    def _seek(self) -> int:
        """Return a top row that shows what `reveal` looks for, with some rows above it."""
        assert self._sought is not None
        (block, text), self._sought = self._sought, None
        top = max(0, self._page.row_of(block, text) - self.size.height // 3)
        self._following = top >= self._end
        return min(top, self._end)

    def scroll_rows(self, rows: int) -> None:
        """Scroll down by a number of rows; up if it is negative.

        Scrolling up stops following new text, reaching the end resumes it.
        """
        self._flush()
        top = max(0, min(self._top + rows, max(self._end, self._top)))
        self._following = top >= self._end and top >= self._top
        self._show(top)

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_rows(-_WHEEL)

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_rows(_WHEEL)

    def _show(self, top: int) -> None:
        self._top = top
        self._repaint()

    # Painting

    def _touch(self, block: Block) -> None:
        if self._changed is None or block.start < self._changed.start:
            self._changed = block
        if self.is_mounted:
            self._cadence.ask()

    def _flush(self) -> None:
        """Arrange and repaint what changed since the last frame."""
        changed, self._changed = self._changed, None
        if changed is None or not self._laid_out:
            return
        self._page.arrange(changed)
        if self._following and self._page.height > self._top + self.size.height:
            self._top = self._stride()
        self._repaint()

    def _stride(self) -> int:
        """Return a top row that leaves room for new text; keeps the last prompt visible if possible."""
        prompt = next((block.start for block in reversed(self.blocks) if block.kind == "prompt"), 0)
        return prompt if prompt > self._end else self._end + max(1, self.size.height // 3)

    def _repaint(self) -> None:
        """Repaint the rows that changed."""
        if not self._laid_out or self._laid_out != self.size:
            return  # a full repaint is due
        before, self._painted = self._painted, self._rows()
        width = self.size.width
        regions = [
            Region(0, y, width, 1)
            for y, (old, new) in enumerate(zip(before, self._painted, strict=True))
            if old is not new and old != new
        ]
        if regions:
            self.refresh(*regions)

    def _rows(self) -> list[Strip]:
        top, height = self._top, self.size.height
        rows = self._page.strips(top, height, self._palette)
        if self._page.height > top + height and not self._following and height > 1:
            start = max(0, self.size.width - len(_MORE))
            last = rows[-1].extend_cell_length(start).crop(0, start)
            rows[-1] = Strip([*last, Segment(_MORE, self._palette["more"])])
        return rows

    def render_line(self, y: int) -> Strip:
        """Return a row of the view by its index, counted from the top."""
        if self._laid_out != self.size:
            self._lay_out()
        return self._painted[y] if y < len(self._painted) else Strip([], 0)

    def _lay_out(self) -> None:
        """Wrap everything to the current size, and keep the text at the top of the view in place."""
        if not self._palette:
            self._palette = palette_of(self)
        place = None if self._following else self._page.place(self._top)
        self._laid_out = self.size
        self._page.lay_out(min(self.size.width - 1, _MEASURE + GUTTER))
        self._typesetter.set_at_once(self._page, self._palette)
        self._changed = None
        if self._sought is not None:
            top = self._seek()
        else:
            top = self._end if place is None else self._page.find(place)
        self._top = max(0, min(top, self._end))
        self._painted = self._rows()
        self._typeset()

    def _rearrange(self, change: Callable[[], object]) -> None:
        """Apply a change to the rows of existing blocks, and keep the visible text in place."""
        self._flush()
        page = self._page
        if not self._laid_out:
            change()
            return
        place = page.place(self._top)
        below = page.height - self._top
        change()
        page.arrange()
        if self._following and place and place.row > 0 and place.block.height != place.height:
            top = page.height - below  # the reader reads the end, unless the whole changed block is visible
        else:
            top = page.find(place) if place else 0
        top = max(top, self._end) if self._following else min(top, self._end)
        self._show(max(0, top))

    def notify_style_update(self) -> None:
        """Apply the colours of the theme."""
        super().notify_style_update()
        if not self._palette:
            return
        palette = palette_of(self)
        if palette == self._palette:
            return

        def change() -> None:
            self._palette = palette
            self._restyle()

        self._rearrange(change)
        self._typeset()
        self.refresh()

    def _on_unmount(self) -> None:
        self._cadence.stop()
