"""The transcript widget. It repaints only changed rows, at the same moments as the transcripts of the other lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual import events
from textual.color import Color
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from paragone_tui.terminal.changed_rows_screen import Cadence, paint
from paragone_tui.transcript.block import Block
from paragone_tui.transcript.page import Page, blank_rows_before_turns
from paragone_tui.transcript.text import GUTTER, palette_of
from paragone_tui.transcript.typesetter import Typesetter

if TYPE_CHECKING:
    from paragone import Channel
    from paragone_tui.transcript.block import BlockKind
    from paragone_tui.transcript.page import RowAnchor
    from paragone_tui.transcript.text import Layers, TranscriptStyles


_MEASURE = 100
"""Maximum width of a row of text in cells, since longer rows are hard to read."""
_MORE = " ↓ more "
_PAUSE = 0.02
"""Seconds between wrapping two slices of a long text."""
_NOWHERE = Size(0, 0)
_WHEEL = 3
"""Rows to scroll per notch of the mouse wheel."""


class Transcript(Widget):
    """Shows the prompts, answers and notes of a lane while they arrive, safe to print, with answers typeset as Markdown.

    While the end is in view, the view follows new text, several rows at a time. Blocks may be added before mounting.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Transcript { width: 1fr; height: 1fr; background: $background; color: $foreground; }
    """

    def __init__(self, *, markdown: bool = True) -> None:
        super().__init__()
        self.link: Link | None = None
        """The link between this transcript and others; None if this transcript scrolls alone."""
        self.following = True
        """Whether the view scrolls with new text."""
        self.selected: object = None
        self._page = Page()
        self._top = 0
        self._laid_out = _NOWHERE
        """The size of the view for which the text was wrapped; `_NOWHERE` before the first wrapping."""
        self._reveal_target: tuple[Block, str] | None = None
        """The block and the text that the first layout scrolls to."""
        self._place: RowAnchor | None = None
        self._open: Block | None = None
        self._painted: list[Strip] = []
        self._is_placed = False
        self._palette: TranscriptStyles = {}
        self._background: Color | None = None
        """The colour behind the text; None until it is needed, and after a change of the styles."""
        self._changed: Block | None = None
        self._typesetter = Typesetter(self, markdown)
        self._cadence = Cadence(self.flush)
        self._wrapping = Cadence(self._wrap_more, _PAUSE)

    # Content

    @property
    def blocks(self) -> Sequence[Block]:
        return self._page.blocks

    def add(
        self,
        kind: BlockKind,
        text: str = "",
        *,
        hint: str = "",
        log: Sequence[str] = (),
        log_title: str = "",
        turn: object = None,
    ) -> Block:
        """Append a complete block and return it; see `Block`. After a prompt, the view scrolls to the end. `turn`
        identifies the turn that the block begins; linked transcripts align equal turns."""
        block = Block(kind, hint=hint, log=log, log_title=log_title, turn=turn)
        if turn is not None:
            self._mark_link_stale()
        block.append(text)
        self._append(block)
        self._finish(block)
        if kind == "prompt" and self._laid_out:
            self.following = True
        return block

    def drop_earlier_blocks(self) -> None:
        self._page.drop_blocks(0)

    def set_hint(self, block: Block, hint: str) -> None:
        if block in self._page.blocks:
            block.set_hint(hint)
            self._mark_changed(block)

    def write(self, text: str, channel: Channel = "answer") -> None:
        """Append streamed text, painted with the next frame. Text of another channel begins a new block."""
        if not text:
            return
        block = self._open
        if block is None or block.kind != channel:
            self.end()
            block = self._open = Block(channel)
            self._append(block)
        block.append(text)
        self._mark_changed(block)

    def end(self) -> None:
        block, self._open = self._open, None
        if block is not None:
            self._finish(block)

    def rewind(self) -> None:
        self.end()
        prompt = self._page.last_prompt
        self._page.remove_after(prompt)
        self._changed = None
        self.following = True
        start = prompt.start if prompt else 0
        self._show(max(self._end, min(self._top, start)))

    def clear(self, *, keeps_place: bool = False) -> None:
        """Remove all blocks. With `keeps_place`, blocks that follow are shown at the rows of linked transcripts."""
        self._open = self._changed = self._reveal_target = None
        self._page = Page(self._page.fold_thinking, self._page.fold_logs)
        self._mark_link_stale()
        if self.following or not keeps_place or len(self._linked) < 2:
            self._top = 0
            self.following = True
        self._laid_out = _NOWHERE
        self._is_placed = False
        self.refresh()

    def mark(self, turn: object, channel: Channel, layers: Layers) -> None:
        """Replace the marks on one channel of a turn. Positions are those of its original text."""
        for block in self._page.mark(turn, channel, layers):
            self._mark_changed(block)

    def set_remark(self, turn: object, text: str) -> None:
        if self._page.remark(turn) != text:
            self._rearrange(lambda: self._page.set_remark(turn, text))

    @property
    def text(self) -> str:
        return "\n".join(strip.text.rstrip() for strip in self._painted)

    # Options

    def fold(self, *, thinking: bool, logs: bool) -> None:
        """Show thinking as one line, and logs that have a title as the title, or show them in full."""
        self._rearrange(lambda: self._page.fold(thinking, logs))

    def _restyle(self) -> None:
        for block in self.blocks:
            block.repaint()
        if self._laid_out:
            self._typesetter.typeset_at_once(self._page, self._palette)

    def _append(self, block: Block) -> None:
        self._page.add(block)
        self._mark_changed(block)

    def _finish(self, block: Block) -> None:
        block.finish()
        self._typesetter.complete(block)
        self._mark_changed(block)
        if block.wants_typesetting:
            self._typeset()

    def _typeset(self) -> None:
        if self._laid_out:
            self._typesetter.start(self._page, self._palette, self._rearrange)

    @property
    def is_settled(self) -> bool:
        pending = self._typesetter.wanted and any(block.wants_typesetting for block in self.blocks)
        return self._open is None and not pending

    # Painting

    def _mark_changed(self, block: Block) -> None:
        if self._changed is None or block.start < self._changed.start:
            self._changed = block
        if self.is_mounted:
            self._cadence.ask()

    def flush(self) -> None:
        """Show the changes since the last call. Without a call, this happens with the next frame."""
        self._cadence.begin_again()
        changed, self._changed = self._changed, None
        if changed is None or not self._laid_out:
            return
        if self._open and not self._typesetter.keep_up(self._open, self._page.width, self._palette):
            self._mark_changed(self._open)  # typeset with one of the next frames
        self._page.arrange(changed)
        self._trim()
        if self.link is not None:
            self.link.align_if_stale()
        streams = self._open is not None
        is_in_view = self._end <= self._top < max(1, self._page.height)
        if self.following and (streams or not is_in_view):
            top = self._top if is_in_view else self._top_with_space(streams=streams)
            self._top = self._top_further_down(top)
        self._repaint()
        self._wrap_rest()

    def _trim(self) -> None:
        height = self._page.height
        if self._page.trim():
            self._top = max(0, self._top - (height - self._page.height))
            self._mark_link_stale()

    def _wrap_rest(self) -> None:
        if self.is_mounted and self._page.is_pending:
            self._wrapping.ask()

    def _wrap_more(self) -> None:
        if self._laid_out:
            self._rearrange(self._page.wrap)

    def _repaint(self) -> None:
        if not self._is_placed or self.is_resized:
            return  # Textual will repaint the whole view
        before, self._painted = self._painted, self._rows()
        width = self._laid_out.width
        regions = [
            Region(0, y, width, 1)
            for y, (old, new) in enumerate(zip(before, self._painted, strict=True))
            if old is not new and old != new
        ]
        if regions:
            paint(self, *regions)

    def _rows(self) -> list[Strip]:
        top, (width, height) = self._top, self._laid_out
        rows = self._page.strips(top, height, self._palette)
        if self._page.height > top + height and not self.following and height > 1:
            start = max(0, width - len(_MORE))
            last = rows[-1].adjust_cell_length(start, self._palette["answer"].background_style)
            rows[-1] = Strip([*last, Segment(_MORE, self._palette["more"])])
        return rows

    def render_lines(self, crop: Region) -> list[Strip]:
        """Textual's own method composes borders, padding and tint, which takes longer than all other work for a token."""
        if self.is_resized:
            if self.link is not None:
                self.link.lay_out()
            else:
                self.wrap()
                self.place()
        width = self._laid_out.width
        background = self._background = self._background or self.background_colors[1]
        blank = self._palette["answer"].background_style
        rows = [row.adjust_cell_length(width, blank) for row in self._painted[crop.y : crop.bottom]]
        rows += [Strip.blank(width, blank)] * (crop.height - len(rows))
        for line_filter in self.get_line_filters():
            rows = [row.apply_filter(line_filter, background) for row in rows]
        return [row.crop(crop.x, crop.right) for row in rows]

    def wrap(self) -> None:
        if not self._palette:
            self._palette = palette_of(self)
        self._place = self._page.anchor_at(self._top) if self._laid_out and not self.following else None
        self._laid_out = self.size
        self._is_placed = False
        self._page.trim()
        self._page.lay_out(min(self.size.width - 1, _MEASURE + GUTTER))
        self._typesetter.typeset_at_once(self._page, self._palette)
        self._changed = None

    def place(self) -> None:
        ends = [lane._end for lane in self._linked]
        if self._reveal_target is not None:
            self._seek()
        elif self.following:
            self._top = self._nearest_end(ends)
        else:
            top = self._page.row_of_anchor(self._place) if self._place is not None else self._top
            self._top = max(0, min(top, max(ends)))
        self._painted = self._rows()
        self._is_placed = True
        self._typeset()
        self._wrap_rest()

    def set_blank_rows(self, leads: Mapping[object, int]) -> None:
        if all(block.lead == leads.get(block.turn, 0) for block in self.blocks):
            return
        if self._is_placed:
            self._keep_place(lambda: self._page.set_blank_rows(leads))
        else:
            self._page.set_blank_rows(leads)

    def _mark_link_stale(self) -> None:
        if self.link is not None:
            self.link.mark_stale()

    def _rearrange(self, change: Callable[[], object]) -> None:
        self.flush()
        if not self._laid_out:
            change()
            return
        self._keep_place(change)
        if self.link is not None:
            self.link.align()
        self._wrap_rest()

    def _keep_place(self, change: Callable[[], object]) -> None:
        page = self._page
        place = page.anchor_at(self._top)
        below = page.height - self._top
        change()
        page.arrange()
        if self.following and place and place.row > 0 and place.block.height != place.height:
            top = page.height - below  # the start of the changed block is out of view: the user reads the end
        else:
            top = page.row_of_anchor(place) if place else 0
        if self.following:
            self._show(self._shared_top(max(0, top, self._end)))
        else:
            self._show(max(0, min(top, max(lane._end for lane in self._linked))))

    # Scrolling

    @property
    def is_resized(self) -> bool:
        return self._laid_out != self.size

    @property
    def _end(self) -> int:
        """Index of the view's top row if the page's last row is at the bottom of the view."""
        return max(0, self._page.height - self.size.height)

    def to_end(self) -> None:
        """Scroll to the end and follow new text; each linked transcript follows its own end."""
        lanes = self._linked
        for lane in lanes:
            lane.flush()
        tops = [*(lane._top for lane in lanes), *(lane._end for lane in lanes)]
        for lane in lanes:
            lane.following = True
            lane._show(lane._nearest_end(tops))

    def to_start(self) -> None:
        self.scroll_rows(-self._page.height)

    def scroll_pages(self, pages: float) -> None:
        self.scroll_rows(round(pages * max(1, self.size.height - 2)))

    def reveal(self, block: Block, text: str) -> None:
        """Scroll, now or at the first layout, to where a text begins in a block, or to its start. Linked transcripts follow."""
        self._reveal_target = block, text
        if self._laid_out:
            self.flush()
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
        """Scroll down, or up if negative, with linked transcripts. Scrolling up stops following; the end resumes it."""
        lanes = self._linked
        for lane in lanes:
            lane.flush()
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
    def _linked(self) -> Sequence[Transcript]:
        return self.link.members if self.link is not None else [self]

    def _nearest_end(self, tops: Iterable[int]) -> int:
        """Return the last of these top rows that shows the end. Transcripts that share `tops` thus get the same top row."""
        return max((top for top in tops if self._is_end(top)), default=self._end)

    def _is_end(self, top: int) -> bool:
        """Return whether a view with this top row shows the end of the text, and enough text above the end."""
        prompt = self._page.last_prompt
        last = max(prompt.start if prompt else 0, self._page.height - self.size.height // 3)
        return self._end <= top <= last

    @property
    def _followers(self) -> Iterable[Transcript]:
        return (lane for lane in self._linked if lane is not self and lane.following)

    def _shared_top(self, top: int) -> int:
        """Return the top row of a settled linked transcript that also shows this transcript's end, else `top`."""
        # transcripts that still change may reach the same row later
        others = [lane for lane in self._followers if lane.is_settled]
        if len(others) < len(self._linked) - 1:
            return top
        return next((lane._top for lane in others if self._is_end(lane._top)), top)

    def _top_further_down(self, top: int) -> int:
        """Return the top row of a linked transcript further down that also shows this transcript's end, else `top`. Each
        other linked transcript scrolls to this row too, if this brings its end into view."""
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
        """Return a top row with blank rows below for streamed text, or the top row of a linked transcript a little further
        down."""
        prompt = self._page.last_prompt
        if prompt is not None and prompt.start > self._end:
            return prompt.start
        furthest = self._end + (max(1, self.size.height // 3) if streams else 0)
        ahead = (lane._top for lane in self._linked if self._end < lane._top <= furthest)
        return max(ahead, default=furthest)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._background = None
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

    def on_unmount(self) -> None:
        self._cadence.stop()
        self._wrapping.stop()
        self._typesetter.stop()


class Link:
    """Linked transcripts: blank rows above a prompt make it start at the same row in all transcripts that show it."""

    def __init__(self) -> None:
        self.members: list[Transcript] = []
        self._stale = False

    def join(self, transcripts: Iterable[Transcript]) -> None:
        before, self.members = self.members, list(transcripts)
        for transcript in before:
            if transcript not in self.members:
                transcript.link = None
                transcript.set_blank_rows({})
        for transcript in self.members:
            transcript.link = self
        if before != self.members:
            self.align()

    def mark_stale(self) -> None:
        """Record that the turns of a transcript have changed, so that `align_if_stale` aligns all turns."""
        self._stale = True

    def align_if_stale(self) -> None:
        if self._stale:
            self.align()

    def align(self) -> None:
        """Align the turns. If a transcript's size has changed, `lay_out` aligns later, after it has wrapped the text."""
        self._stale = any(member.is_resized for member in self.members)
        if not self._stale:
            self._align()

    def lay_out(self) -> None:
        resized = [member for member in self.members if member.is_resized]
        for member in resized:
            member.wrap()
        self._stale = False
        self._align()
        resized.sort(
            key=lambda member: member._reveal_target is not None
        )  # a search in one transcript scrolls the others
        for member in resized:
            member.place()

    def _align(self) -> None:
        for member, lead in zip(
            self.members,
            blank_rows_before_turns([member._page.turns for member in self.members]),
            strict=True,
        ):
            member.set_blank_rows(lead)
