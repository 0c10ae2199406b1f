"""The transcript widget: text is painted where it changed, on a beat that all lanes share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, get_args

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from paragone_tui.cadence import Cadence
from paragone_tui.transcript.block import GUTTER, Block, Kind, Palette, Tone
from paragone_tui.transcript.page import Page
from paragone_tui.transcript.rows import difference

__all__ = ["Transcript"]

_MEASURE = 100
"""Cells that a row of text takes at most: longer ones are hard to read."""
_TYPESET_LIMIT = 200_000
"""Characters beyond which an answer stays as it came: a second of work."""
_MORE = " ↓ more "
_TONES: tuple[str, ...] = (
    *get_args(Tone),
    "prompt-mark",
    "thinking-mark",
    "note-mark",
    "error-mark",
    "code",
    "accent",
)


class Transcript(Widget, can_focus=True):
    """What was said in a lane, as it is being said.

    While the end is in view the view follows it, in strides of several rows; scrolling up lets go.
    All text is data: it is cleaned, and no markup but an answer's Markdown means anything.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"transcript--{tone}" for tone in _TONES}
    DEFAULT_CSS = """
    Transcript {
        width: 1fr;
        height: 1fr;
        background: $background;
        color: $foreground;
    }
    Transcript > .transcript--prompt-mark { color: $primary; }
    Transcript > .transcript--prompt { text-style: bold; }
    Transcript > .transcript--thinking { color: $text-muted; }
    Transcript > .transcript--thinking-mark { color: $primary-muted; }
    Transcript > .transcript--note { color: $text-muted; }
    Transcript > .transcript--note-mark { color: $warning; }
    Transcript > .transcript--error { color: $text-error; }
    Transcript > .transcript--error-mark { color: $error; }
    Transcript > .transcript--log { color: $text-muted; }
    Transcript > .transcript--hint { color: $foreground; }
    Transcript > .transcript--mark { color: $primary; }
    Transcript > .transcript--code { color: $text-secondary; }
    Transcript > .transcript--accent { color: $primary; }
    Transcript:ansi {
        & > .transcript--prompt-mark { color: ansi_blue; }
        & > .transcript--thinking { color: ansi_bright_black; }
        & > .transcript--thinking-mark { color: ansi_bright_black; }
        & > .transcript--note { color: ansi_bright_black; }
        & > .transcript--note-mark { color: ansi_yellow; }
        & > .transcript--error { color: ansi_red; }
        & > .transcript--error-mark { color: ansi_red; }
        & > .transcript--log { color: ansi_bright_black; }
        & > .transcript--hint { color: ansi_default; }
        & > .transcript--mark { color: ansi_blue; }
        & > .transcript--code { color: ansi_cyan; }
        & > .transcript--accent { color: ansi_blue; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_rows(-1)", "Up", show=False, id="transcript.up"),
        Binding("down,j", "scroll_rows(1)", "Down", show=False, id="transcript.down"),
        Binding("pageup,ctrl+b", "scroll_pages(-1)", "Page up", show=False, id="transcript.page-up"),
        Binding(
            "pagedown,ctrl+f,space", "scroll_pages(1)", "Page down", show=False, id="transcript.page-down"
        ),
        Binding("home,g", "to_start", "To the start", show=False, id="transcript.start"),
        Binding("end,G", "to_end", "To the end", show=False, id="transcript.end"),
    ]

    def __init__(
        self,
        *,
        markdown: bool = True,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's name for it
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.following = True
        """Whether the view goes along with new text."""
        self._markdown = markdown
        self._page = Page()
        self._top = 0
        self._painted: list[Strip] = []
        self._laid_out = Size(0, 0)
        self._palette: dict[str, Style] = {}
        self._fold = False
        self._changed: Block | None = None
        self._typesetting = False
        self._cadence = Cadence(lambda: self.call_later(self._flush))

    # What is said

    @property
    def blocks(self) -> Sequence[Block]:
        """The blocks, oldest first."""
        return self._page.blocks

    def add(self, kind: Kind, text: str = "", *, hint: str = "", log: Sequence[str] = ()) -> Block:
        """Put a new block at the end and return it.

        `log` lines are shown verbatim and `hint` in plain below the text, as for a crash. An
        answer or thinking stays open for `extend` until it is finished.
        """
        block = Block(kind, hint=hint, log=log)
        if text:
            block.append(text)
        if kind == "thinking":
            block.folded = self._fold
        elif kind != "answer":
            block.finish()
        if kind == "prompt":
            self.following = True
        self._page.add(block)
        self._touch(block)
        return block

    def extend(self, block: Block, text: str) -> None:
        """Add text to a block that is being written; it is painted on the next beat."""
        block.append(text)
        self._touch(block)

    def finish(self, block: Block) -> None:
        """Close a block; a finished answer is typeset as Markdown."""
        block.finish()
        self._touch(block)
        self._typeset()

    def clear(self) -> None:
        """Remove everything."""
        self._page = Page()
        self._changed = None
        self._top = 0
        self.following = True
        self._laid_out = Size(0, 0)
        self.refresh()

    def fold_thinking(self, fold: bool) -> None:
        """Show what the model thought in full, or as one line."""
        self._fold = fold
        self._rearrange(lambda: self._fold_all(fold))

    def _fold_all(self, fold: bool) -> None:
        for block in self._page.blocks:
            block.folded = fold and block.kind == "thinking"

    # Where the view is

    @property
    def _end(self) -> int:
        """The top row at which the end is just in view."""
        return max(0, self._page.height - self.size.height)

    def to_end(self) -> None:
        """Show the end and follow it."""
        self._flush()
        self.following = True
        self._show(max(self._top, self._end))

    def action_to_end(self) -> None:
        """Show the end and follow it."""
        self.to_end()

    def action_to_start(self) -> None:
        """Show the beginning."""
        self.action_scroll_rows(-self._page.height)

    def action_scroll_pages(self, pages: int) -> None:
        """Move by that many screenfuls, down or up."""
        self.action_scroll_rows(pages * max(1, self.size.height - 2))

    def action_scroll_rows(self, rows: int) -> None:
        """Move by that many rows, down or up; away from the end, stop following it."""
        top = max(0, min(self._top + rows, max(self._end, self._top)))
        self.following = top >= self._end
        self._show(top)

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll_rows(-3)

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll_rows(3)

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
        changed, self._changed = self._changed, None
        if changed is None or not self._laid_out or changed not in self._page.blocks:
            return
        self._page.arrange(changed)
        if self.following and self._page.height > self._top + self.size.height:
            self._stride()
        self._repaint()

    def _stride(self) -> None:
        """Move on so far that there is room for more text, with the last prompt still in view if that can be."""
        height = self.size.height
        self._top = self._end + max(1, height // 3)
        prompts = (block.start for block in reversed(self._page.blocks) if block.kind == "prompt")
        prompt = next(prompts, self._top)
        if self._end <= prompt - 1 and prompt + height > self._page.height + 1:
            self._top = prompt

    def _repaint(self) -> None:
        """Have the cells painted that are not on the screen what they should be."""
        if not self._laid_out:
            return
        width = self.size.width
        before, self._painted = self._painted, self._rows()
        regions = []
        for y, (old, new) in enumerate(zip(before, self._painted, strict=True)):
            if old is not new and (span := difference(old, new, width)):
                regions.append(Region(span[0], y, span[1] - span[0], 1))
        if regions:
            self.refresh(*regions)

    def _rows(self) -> list[Strip]:
        top, height = self._top, self.size.height
        rows = [self._page.strip(row, self._palette) for row in range(top, top + height)]
        if self._page.height > top + height and not self.following and height > 1:
            start = max(0, self.size.width - len(_MORE))
            rows[-1] = Strip(
                [*rows[-1].extend_cell_length(start).crop(0, start), Segment(_MORE, self._palette["mark"])]
            )
        return rows

    def render_line(self, y: int) -> Strip:
        """Return a row of the view."""
        if self._laid_out != self.size:
            self._lay_out()
        return self._painted[y] if y < len(self._painted) else Strip([], 0)

    def _lay_out(self) -> None:
        """Wrap everything to the present size, and keep the reader's place."""
        if not self._palette:
            self._palette = self._styles()
        place = None if self.following else self._page.place(self._top, self._palette)
        self._laid_out = self.size
        self._page.lay_out(min(self.size.width - 1, _MEASURE + GUTTER))
        self._changed = None
        self._top = (
            self._end if place is None else max(0, min(self._page.find(place, self._palette), self._end))
        )
        self._painted = self._rows()
        self._typeset()

    def _rearrange(self, change: Callable[[], None]) -> None:
        """Change the rows of blocks that were there, and keep the reader's place."""
        self._flush()
        page, palette = self._page, self._palette
        if not self._laid_out:
            change()
            return
        place = page.place(self._top, palette)
        below = page.height - self._top
        change()
        page.arrange()
        top = page.find(place, palette) if place else 0
        if self.following:
            # What is read is the end, unless all of what changed is in view.
            if place and place.block.height != place.height:
                top = page.height - below
            top = max(top, self._end)
        else:
            top = min(top, self._end)
        self._show(max(0, top))

    # Styles

    def _styles(self) -> dict[str, Style]:
        plain = self.rich_style
        styles = {tone: self.get_component_rich_style(f"transcript--{tone}") for tone in _TONES}
        styles["answer"] = plain
        styles["log-mark"] = styles["hint-mark"] = styles["error-mark"]
        return styles

    def notify_style_update(self) -> None:
        """Take over the theme's colours."""
        super().notify_style_update()
        if not self._palette:
            return
        styles = self._styles()
        if styles != self._palette:
            self._palette = styles
            for block in self._page.blocks:
                block.repaint()
            self._laid_out = Size(0, 0)
            self.refresh()

    # Markdown

    def _typeset(self) -> None:
        if self._markdown and not self._typesetting and self._next_to_typeset():
            self._typesetting = True
            self.run_worker(self._typeset_all(), group="typeset")

    def _next_to_typeset(self) -> Block | None:
        if not self._laid_out:
            return None
        return next((block for block in reversed(self._page.blocks) if block.wants_typesetting), None)

    async def _typeset_all(self) -> None:
        """Typeset what is finished, in a thread: the screen goes on meanwhile."""
        try:
            while block := self._next_to_typeset():
                width, palette = self._page.width, self._palette
                dark = self.app.current_theme.dark
                strips = await asyncio.to_thread(_typeset_text, block.text, width, palette, dark)
                if (width, palette) == (self._page.width, self._palette):
                    self._rearrange(partial(block.set_type, strips))
        finally:
            self._typesetting = False

    def _on_unmount(self) -> None:
        self._cadence.stop()


def _typeset_text(text: str, width: int, palette: Palette, dark: bool) -> tuple[Strip, ...] | None:
    if len(text) > _TYPESET_LIMIT:
        return None
    from paragone_tui.transcript.markdown import typeset  # not before it is needed: 0.2 s

    try:
        return typeset(text, width, palette, dark=dark)
    except Exception:  # noqa: BLE001 - hostile text at the edge of a lane: better plain than gone
        return None
