"""The scroll position of a transcript, and links that align transcripts and make them scroll together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from textual import events
from textual.geometry import Size
from textual.widget import Widget

from paragone_tui.transcript.block import Block
from paragone_tui.transcript.page import Page


class Link:
    """The transcripts that are linked: none, or at least two.

    A prompt starts at the same row in all transcripts that show it: blank rows above the prompt make up for shorter turns.
    """

    def __init__(self) -> None:
        self.members: list[ScrolledText] = []
        self._stale = False

    def join(self, transcripts: Iterable[ScrolledText]) -> None:
        before, self.members = self.members, list(transcripts)
        for transcript in before:
            if transcript not in self.members:
                transcript.link = None
                transcript.lead({})
        for transcript in self.members:
            transcript.link = self
        if before != self.members:
            self.align()

    def mark_stale(self) -> None:
        """Note that the turns of a transcript have changed, so that `align_if_stale` aligns all turns."""
        self._stale = True

    def align_if_stale(self) -> None:
        """Align the turns if some turn has changed since the last alignment."""
        if self._stale:
            self.align()

    def align(self) -> None:
        """Align the turns. If a transcript's size has changed, `lay_out` aligns later, after it has wrapped the text."""
        self._stale = any(member.is_resized for member in self.members)
        if not self._stale:
            self._align()

    def lay_out(self) -> None:
        """Wrap the text of the transcripts whose size has changed, and align all turns."""
        resized = [member for member in self.members if member.is_resized]
        for member in resized:
            member.wrap()
        self._stale = False
        self._align()
        resized.sort(key=lambda member: member.is_seeking)  # a search in one transcript scrolls the others
        for member in resized:
            member.place()

    def _align(self) -> None:
        for member, lead in zip(self.members, leads([member.turns for member in self.members]), strict=True):
            member.lead(lead)


def leads(lanes: Sequence[Mapping[object, int]]) -> Sequence[Mapping[object, int]]:
    """Return, for each lane, how many blank rows above each turn align the turns of all lanes.

    `lanes` maps the turns of each lane, in order, to the rows at which the turns start without blank rows.
    """
    turns = [list(lane) for lane in lanes]
    places = [{turn: place for place, turn in enumerate(lane)} for lane in turns]
    at = [0] * len(lanes)
    moved = [0] * len(lanes)
    result: list[dict[object, int]] = [{} for _ in lanes]
    while heads := {lane: listed[at[lane]] for lane, listed in enumerate(turns) if at[lane] < len(listed)}:
        # A turn is placed once it is next in every lane that has it. If lanes have the same turns in
        # different orders, some turns cannot be aligned.
        coming = (
            turn
            for turn in heads.values()
            if all(
                heads.get(lane) is turn or place.get(turn, -1) < at[lane] for lane, place in enumerate(places)
            )
        )
        turn = next(coming, next(iter(heads.values())))
        here = [lane for lane, head in heads.items() if head is turn]
        row = max(lanes[lane][turn] + moved[lane] for lane in here)
        for lane in here:
            result[lane][turn] = row - lanes[lane][turn] - moved[lane]
            moved[lane] += result[lane][turn]
            at[lane] += 1
    return result


NOWHERE = Size(0, 0)

_WHEEL = 3
"""Rows to scroll per notch of the mouse wheel."""


class ScrolledText(Widget):
    """A view of a page that scrolls by rows, follows the end, and scrolls together with linked views."""

    def __init__(self) -> None:
        super().__init__()
        self.link: Link | None = None
        """The link between this transcript and others; None if this transcript scrolls alone."""
        self._page = Page()
        self._top = 0
        self.following = True
        """Whether the view scrolls with new text."""
        self._laid_out = NOWHERE
        """The size of the view for which the text was wrapped; `NOWHERE` before the first wrapping."""
        self._reveal_target: tuple[Block, str] | None = None
        """The block and the text that the first layout scrolls to."""
        self.selected: object = None
        """The selected turn; None if no turn is selected."""

    @abstractmethod
    def _flush(self) -> None:
        """Arrange and repaint the blocks that changed since the last frame."""

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Whether no text streams in, and no answer is about to be typeset."""

    @property
    def is_resized(self) -> bool:
        """Whether the size has changed since the text was wrapped."""
        return self._laid_out != self.size

    @abstractmethod
    def wrap(self) -> None:
        """Wrap all text to the current size. Afterwards, `place` shows the wrapped text."""

    @abstractmethod
    def place(self) -> None:
        """Show the wrapped text, with the same place of the text at the top of the view as before wrapping."""

    @property
    def turns(self) -> Mapping[object, int]:
        """The turns, and the row where each turn would start without the blank rows for alignment."""
        return self._page.turns

    @abstractmethod
    def lead(self, leads: Mapping[object, int]) -> None:
        """Set the number of blank rows above each turn, and keep the visible text in place."""

    @abstractmethod
    def _mark_changed(self, block: Block) -> None:
        """Paint a changed block with the next frame."""

    @abstractmethod
    def _repaint(self) -> None:
        pass

    @property
    def _end(self) -> int:
        """Index of the view's top row if the page's last row is at the bottom of the view."""
        return max(0, self._page.height - self.size.height)

    def to_end(self) -> None:
        """Scroll to the end and follow new text; each linked transcript follows its own end."""
        lanes = self._linked
        for lane in lanes:
            lane._flush()
        tops = [*(lane._top for lane in lanes), *(lane._end for lane in lanes)]
        for lane in lanes:
            lane.following = True
            lane._show(lane._nearest_end(tops))

    def to_start(self) -> None:
        self.scroll_rows(-self._page.height)

    def scroll_pages(self, pages: float) -> None:
        self.scroll_rows(round(pages * max(1, self.size.height - 2)))

    def reveal(self, block: Block, text: str) -> None:
        """Scroll to the place in a block where a text begins, or to the start of the block if the block lacks the text.

        Before the first layout, remember the place: the first layout then scrolls to it. Linked transcripts scroll along.
        """
        self._reveal_target = block, text
        if self._laid_out:
            self._flush()
            self._seek()
        else:
            self.following = False

    def select(self, turn: object) -> None:
        """Mark the prompt of a turn as selected, and scroll to the prompt if it is not in view. None selects no turn."""
        before, self.selected = self.selected, turn
        for block in self._page.blocks:
            if block.turn is not None and block.turn in (before, turn):
                block.select(block.turn is turn)
                self._mark_changed(block)
                in_view = self._laid_out and self._top <= block.start < self._top + self.size.height
                if block.turn is turn and not in_view:
                    self.reveal(block, "")

    @property
    def is_seeking(self) -> bool:
        """Whether the first layout will scroll to a place that `reveal` remembered."""
        return self._reveal_target is not None

    def _seek(self) -> None:
        """Scroll to the place that `reveal` remembered, with some rows above the place in view."""
        assert self._reveal_target is not None
        (block, text), self._reveal_target = self._reveal_target, None
        end = max(lane._end for lane in self._linked)
        top = max(0, self._page.row_of(block, text) - self.size.height // 3)
        for lane in self._linked:
            lane.following = top >= end
            lane._show(min(top, end))

    def scroll_rows(self, rows: int) -> None:
        """Scroll down by a number of rows, or up if the number is negative. Linked transcripts scroll along.

        Scrolling up stops following new text. Reaching the end resumes following.
        """
        lanes = self._linked
        for lane in lanes:
            lane._flush()
        end = max(lane._end for lane in lanes)
        top = max(0, min(self._top + rows, max(end, self._top)))
        following = top >= end and top >= self._top
        for lane in lanes:
            lane.following = following
            lane._show(top)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_rows(-_WHEEL)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_rows(_WHEEL)

    @property
    def _linked(self) -> Sequence[ScrolledText]:
        return self.link.members if self.link is not None else [self]

    def _nearest_end(self, tops: Iterable[int]) -> int:
        """Return the last of these top rows that `_is_end` accepts; `_end` if there is no such row.

        Transcripts with the same `tops`, whose ends are at nearly the same row, thus get the same top row.
        """
        return max((top for top in tops if self._is_end(top)), default=self._end)

    def _is_end(self, top: int) -> bool:
        """Return whether a view with this top row shows the end of the text, and enough text above the end."""
        prompt = self._page.last_prompt
        last = max(prompt.start if prompt else 0, self._page.height - self.size.height // 3)
        return self._end <= top <= last

    @property
    def _followers(self) -> Iterable[ScrolledText]:
        return (lane for lane in self._linked if lane is not self and lane.following)

    def _shared_top(self, top: int) -> int:
        """Return the top row of a linked transcript that also shows this transcript's end, else `top`.

        Returns `top` while other transcripts still change, since these may reach the same row later.
        """
        others = [lane for lane in self._followers if lane.is_settled]
        if len(others) < len(self._linked) - 1:
            return top
        return next((lane._top for lane in others if self._is_end(lane._top)), top)

    def _top_further_down(self, top: int) -> int:
        """Return the top row of a linked transcript further down that also shows this transcript's end, else `top`.

        Each other linked transcript scrolls to this row, too, if this brings the end of that transcript into view.
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

    def _top_with_space(self, *, streams: bool) -> int:
        """Return a top row that leaves blank rows for streamed text, and keeps the last prompt in view if possible.

        If a linked transcript is scrolled a little further down, return its top row.
        """
        prompt = self._page.last_prompt
        if prompt is not None and prompt.start > self._end:
            return prompt.start
        furthest = self._end + (max(1, self.size.height // 3) if streams else 0)
        ahead = (lane._top for lane in self._linked if self._end < lane._top <= furthest)
        return max(ahead, default=furthest)
