"""Typesets complete answers as Markdown in a thread, so that the screen stays responsive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from textual.strip import Strip
from textual.widget import Widget

from paragone.threads import in_daemon_thread
from paragone_tui.transcript.block import Block
from paragone_tui.transcript.effort import AT_ONCE, LONGEST, effort
from paragone_tui.transcript.page import Page
from paragone_tui.transcript.palette import Palette

_TOO_LONG = "Too long to typeset as Markdown; shown as it is."
_MODULE = "paragone_tui.transcript.markdown"

_Rearrange: TypeAlias = Callable[[Callable[[], object]], None]


class Typesetter:
    """Typesets the answers of a page, newest first, while its widget is mounted."""

    def __init__(self, widget: Widget, wanted: bool) -> None:
        self.wanted = wanted
        """Whether answers are typeset."""
        self._widget = widget
        self._page: Page | None = None
        self._palette: Palette = {}
        self._running = False

    def start(self, page: Page, palette: Palette, rearrange: _Rearrange) -> None:
        """Typeset the page's complete answers in the background; `rearrange` applies the changes."""
        self._page, self._palette = page, palette
        if not self._running and self._next():
            self._running = True
            self._widget.run_worker(self._run(rearrange), group="typeset")

    def stop(self) -> None:
        """End the typesetting in the background."""
        self._page = None

    def set_at_once(self, page: Page, palette: Palette) -> None:
        """Typeset the newest answers before the next paint, so that a new width or theme does not flicker."""
        if not self.wanted or _MODULE not in sys.modules:
            return
        room = AT_ONCE
        for block in reversed(page.blocks):
            if block.wants_typesetting:
                room -= effort(block.text)
                if room < 0:
                    break
                block.set_type(_typeset(block.text, page.width, palette, self._dark))
        page.arrange()

    @property
    def _dark(self) -> bool:
        return self._widget.app.current_theme.dark

    def _next(self) -> Block | None:
        if not self.wanted or self._page is None:
            return None
        return next((block for block in reversed(self._page.blocks) if block.wants_typesetting), None)

    async def _run(self, rearrange: _Rearrange) -> None:
        try:
            while block := self._next():
                if effort(block.text) > LONGEST:
                    rearrange(partial(block.set_type, None, _TOO_LONG))
                    continue
                page, palette = self._page, self._palette
                assert page is not None  # since it has a block
                width = page.width

                def is_wanted(page: Page = page, width: int = width, palette: Palette = palette) -> bool:
                    return self.wanted and (page, width, palette) == (self._page, page.width, self._palette)

                work = partial(_typeset, block.text, width, palette, self._dark, is_wanted)
                # Not in a thread of the event loop, for which the end of the program would wait.
                rows = await asyncio.wrap_future(in_daemon_thread(work))
                if is_wanted():
                    rearrange(partial(block.set_type, rows))
        finally:
            self._running = False


def _typeset(
    text: str, width: int, palette: Palette, dark: bool, is_wanted: Callable[[], bool] = lambda: True
) -> tuple[Strip, ...] | None:
    from paragone_tui.transcript.markdown import typeset  # takes 0.2 s, so only when needed

    try:
        return typeset(text, width, palette, dark=dark, is_wanted=is_wanted)
    except Exception:  # noqa: BLE001 - whatever text breaks the typesetting, show it plain
        return None
