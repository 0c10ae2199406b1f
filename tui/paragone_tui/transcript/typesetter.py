"""Typesets answers as Markdown: growing answers in small steps, complete answers in a thread. The screen stays responsive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from textual.widget import Widget

from paragone.threads import in_daemon_thread
from paragone_tui.transcript.block import Block
from paragone_tui.transcript.page import Page
from paragone_tui.transcript.text import AT_ONCE, CHARACTERS, LONGEST, TranscriptStyles, wrapping_effort

if TYPE_CHECKING:
    from paragone_tui.transcript.markdown import TypesetText

_TOO_LONG = "Too long to typeset as Markdown; shown as it is."
_MODULE = "paragone_tui.transcript.markdown"
_REST = 0.004
"""Seconds without typesetting after each unit of effort, so that a growing answer takes at most a fortieth of the time."""

_Rearrange: TypeAlias = Callable[[Callable[[], object]], None]


class Typesetter:
    def __init__(self, widget: Widget, wanted: bool) -> None:
        self.wanted = wanted
        self._widget = widget
        self._page: Page | None = None
        self._palette: TranscriptStyles = {}
        self._running = False
        self._imports = False
        self._rests_until = 0.0
        """When the growing answer may be typeset again, in seconds of the event loop's clock."""

    def start(self, page: Page, palette: TranscriptStyles, rearrange: _Rearrange) -> None:
        self._page, self._palette = page, palette
        if not self._running and self._next():
            self._running = True
            self._widget.run_worker(self._run(rearrange), group="typeset")

    def stop(self) -> None:
        self._page = None

    def typeset_at_once(self, page: Page, palette: TranscriptStyles) -> None:
        """Typeset the newest answers before the next paint, so that a new width or theme does not flicker."""
        if not self.wanted or _MODULE not in sys.modules:
            return
        room = AT_ONCE
        for block in reversed(page.blocks):
            if block.wants_typesetting or block.can_grow_typeset:
                room -= wrapping_effort(block.text)
                if room < 0:
                    break
                if block.wants_typesetting:
                    block.set_typeset(_typeset(block.shown_text, page.width, palette))
                else:
                    self._begin(block, page.width, palette)
        page.arrange()

    def keep_up(self, block: Block, width: int, palette: TranscriptStyles) -> bool:
        """Typeset the text that was appended since the last call. Returns False if the last call is too recent."""
        if not self.wanted or not block.can_grow_typeset or not self._is_imported():
            return True
        now = asyncio.get_running_loop().time()
        if now < self._rests_until:
            return False
        if block.growing is not None:
            self._typeset_more(block, ended=False)
        elif block.length // CHARACTERS < AT_ONCE:
            self._begin(block, width, palette)
        if block.growing is not None:
            self._rests_until = now + wrapping_effort(block.growing.rest) * _REST
        return True

    def _is_imported(self) -> bool:
        """Return whether the module that typesets is imported; if not, import it in a thread."""
        if _MODULE not in sys.modules and not self._imports:
            self._imports = True
            in_daemon_thread(partial(import_module, _MODULE))
        return hasattr(sys.modules.get(_MODULE), "typeset")  # a thread may be in the middle of the import

    def complete(self, block: Block) -> None:
        if block.growing is not None:
            self._typeset_more(block, ended=True)
        self._rests_until = 0.0

    def _begin(self, block: Block, width: int, palette: TranscriptStyles) -> None:
        from paragone_tui.transcript.markdown import TypesetText

        block.begin_typeset(TypesetText(width, palette))
        self._typeset_more(block, ended=False)

    def _typeset_more(self, block: Block, *, ended: bool) -> None:
        text = block.growing
        assert text is not None
        if wrapping_effort(text.rest) > AT_ONCE or block.length // CHARACTERS > LONGEST:
            if not ended:
                block.end_typeset()
            return  # a thread typesets the complete answer
        try:
            text.typeset(ended=ended)
        except Exception:  # noqa: BLE001 - whatever text breaks the typesetting, show it plain
            block.set_typeset(None)

    def _next(self) -> Block | None:
        if not self.wanted or self._page is None:
            return None
        return next((block for block in reversed(self._page.blocks) if block.wants_typesetting), None)

    async def _run(self, rearrange: _Rearrange) -> None:
        try:
            while block := self._next():
                if wrapping_effort(block.text) > LONGEST:
                    rearrange(partial(block.set_typeset, None, _TOO_LONG))
                    continue
                page, palette = self._page, self._palette
                assert page is not None  # without a page, `_next` returns None
                width = page.width

                def is_wanted(
                    page: Page = page, width: int = width, palette: TranscriptStyles = palette
                ) -> bool:
                    return self.wanted and (page, width, palette) == (self._page, page.width, self._palette)

                work = partial(_typeset, block.shown_text, width, palette, is_wanted)
                # Not in a thread of the event loop: the end of the program would wait for that thread.
                rows = await asyncio.wrap_future(in_daemon_thread(work))
                if is_wanted() and (rows is None or rows.is_complete):
                    rearrange(partial(block.set_typeset, rows))
        finally:
            self._running = False


def _typeset(
    text: str, width: int, palette: TranscriptStyles, is_wanted: Callable[[], bool] = lambda: True
) -> TypesetText | None:
    from paragone_tui.transcript.markdown import typeset  # this import takes 0.2 s

    try:
        return typeset(text, width, palette, is_wanted)
    except Exception:  # noqa: BLE001 - whatever text breaks the typesetting, show it plain
        return None
