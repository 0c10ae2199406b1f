"""Scrolling of a transcript: by hand, with the end, and together with linked transcripts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

from textual import events
from textual.geometry import Size
from textual.widget import Widget

from paragone_tui.transcript.block import Block
from paragone_tui.transcript.link import Link
from paragone_tui.transcript.page import Page

NOWHERE = Size(0, 0)

_WHEEL = 3
"""Rows to scroll per notch of the mouse wheel."""


class ScrolledText(Widget):
    """A view of a page that scrolls by rows, follows the end, and scrolls together with others."""

    def __init__(self) -> None:
        super().__init__()
        self.link: Link | None = None
        """The transcripts that this one is linked with, itself included."""
        self._page = Page()
        self._top = 0
        self._following = True
        self._laid_out = NOWHERE
        """The size to which the text is wrapped; `NOWHERE` if it is not."""
        self._sought: tuple[Block, str] | None = None
        """What to scroll to at the first layout."""
        self.selected: object = None
        """What identifies the selected turn; None if none is."""

    @abstractmethod
    def _flush(self) -> None:
        """Arrange and repaint what changed since the last frame."""

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Whether nothing streams, and nothing is about to be typeset."""

    @abstractmethod
    def _touch(self, block: Block) -> None:
        """Paint a block that has changed with the next frame."""

    @abstractmethod
    def _repaint(self) -> None:
        """Repaint the rows that changed."""

    @property
    def following(self) -> bool:
        """Whether the view scrolls with new text."""
        return self._following

    @property
    def _end(self) -> int:
        """Index of the top row when the last row is at the bottom of the view."""
        return max(0, self._page.height - self.size.height)

    def to_end(self) -> None:
        """Scroll to the end and follow new text; each linked transcript follows its own end."""
        lanes = self._linked
        for lane in lanes:
            lane._flush()
        tops = [*(lane._top for lane in lanes), *(lane._end for lane in lanes)]
        for lane in lanes:
            lane._following = True
            lane._show(lane._nearest_end(tops))

    def to_start(self) -> None:
        """Scroll to the beginning."""
        self.scroll_rows(-self._page.height)

    def scroll_pages(self, pages: float) -> None:
        """Scroll down by a number of screenfuls; up if it is negative."""
        self.scroll_rows(round(pages * max(1, self.size.height - 2)))

    def reveal(self, block: Block, text: str) -> None:
        """Scroll to the place in a block where a text begins; to the start of the block if it is not there.

        If nothing is laid out yet, the first layout scrolls. Linked transcripts come along.
        """
        self._sought = block, text
        if self._laid_out:
            self._flush()
            self._seek()
        else:
            self._following = False

    def select(self, turn: object) -> None:
        """Mark the prompt of a turn as selected and have it in view; with None, select none."""
        before, self.selected = self.selected, turn
        for block in self._page.blocks:
            if block.turn is not None and block.turn in (before, turn):
                block.select(block.turn is turn)
                self._touch(block)
                in_view = self._laid_out and self._top <= block.start < self._top + self.size.height
                if block.turn is turn and not in_view:
                    self.reveal(block, "")

    @property
    def is_seeking(self) -> bool:
        """Whether the first layout scrolls to what `reveal` looks for."""
        return self._sought is not None

    def _seek(self) -> None:
        """Scroll to the place that `reveal` looks for, with some rows above it."""
        assert self._sought is not None
        (block, text), self._sought = self._sought, None
        end = max(lane._end for lane in self._linked)
        top = max(0, self._page.row_of(block, text) - self.size.height // 3)
        for lane in self._linked:
            lane._following = top >= end
            lane._show(min(top, end))

    def scroll_rows(self, rows: int) -> None:
        """Scroll down by a number of rows; up if it is negative. Linked transcripts come along.

        Scrolling up stops following new text, reaching the end resumes it.
        """
        lanes = self._linked
        for lane in lanes:
            lane._flush()
        end = max(lane._end for lane in lanes)
        top = max(0, min(self._top + rows, max(end, self._top)))
        following = top >= end and top >= self._top
        for lane in lanes:
            lane._following = following
            lane._show(top)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll up by the rows of a step of the wheel."""
        event.stop()
        self.scroll_rows(-_WHEEL)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll down by the rows of a step of the wheel."""
        event.stop()
        self.scroll_rows(_WHEEL)

    @property
    def _linked(self) -> Sequence[ScrolledText]:
        """The transcripts that scroll together with this one, itself included."""
        return self.link.members if self.link is not None else [self]

    def _nearest_end(self, tops: Iterable[int]) -> int:
        """Return the last of these top rows from which the end can be followed; if there is none, `_end`.

        If all lanes choose among the same rows, those with ends near each other show the same rows.
        """
        return max((top for top in tops if self._is_end(top)), default=self._end)

    def _is_end(self, top: int) -> bool:
        """Return whether the end can be followed from a top row, and enough of the text is in view."""
        prompt = self._page.last_prompt
        last = max(prompt.start if prompt else 0, self._page.height - self.size.height // 3)
        return self._end <= top <= last

    @property
    def _followers(self) -> Iterable[ScrolledText]:
        """The other linked transcripts that keep their last line in sight."""
        return (lane for lane in self._linked if lane is not self and lane._following)

    def _in_line(self, top: int) -> int:
        """Return the top row of a linked transcript if the end can be followed from there, else `top`.

        Returns `top` while other transcripts still change, since they may reach the same row.
        """
        others = [lane for lane in self._followers if lane.is_settled]
        if len(others) < len(self._linked) - 1:
            return top
        return next((lane._top for lane in others if self._is_end(lane._top)), top)

    def _fall_in(self, top: int) -> int:
        """Return a top row that keeps the end in sight: that of a linked transcript scrolled further down, else `top`.

        The other linked transcripts move to this row if it keeps their ends in sight too.
        """
        further = (lane._top for lane in self._followers if lane._top > top and self._is_end(lane._top))
        top = max(further, default=top)
        for lane in self._followers:
            if lane._top < top and lane._is_end(top):
                lane._show(top)
        return top

    def _show(self, top: int) -> None:
        self._top = top
        self._repaint()

    def _stride(self, *, streams: bool) -> int:
        """Return a top row that leaves room for text that streams; keeps the last prompt visible if possible.

        If a linked transcript is a little ahead, both show the same rows.
        """
        prompt = self._page.last_prompt
        if prompt is not None and prompt.start > self._end:
            return prompt.start
        furthest = self._end + (max(1, self.size.height // 3) if streams else 0)
        ahead = (lane._top for lane in self._linked if self._end < lane._top <= furthest)
        return max(ahead, default=furthest)
