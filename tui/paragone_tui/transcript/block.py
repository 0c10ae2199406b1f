"""The blocks of a transcript, each with its text and its rows at the current width."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeAlias

from textual.strip import Strip

from paragone.texts import counted
from paragone_tui.terminal.text import visible
from paragone_tui.transcript.text import (
    CHARACTERS,
    GUTTER,
    LONGEST,
    BlockPart,
    Layers,
    TranscriptStyles,
    moved_marks,
    styled_row,
)
from paragone_workbench.text import GrowingText

if TYPE_CHECKING:
    from paragone_tui.transcript.markdown import TypesetText

BlockKind: TypeAlias = Literal["prompt", "thinking", "answer", "note", "caution", "error"]

_WORD = re.compile(r"\S+")


class Block:
    """An entry of a transcript, such as a prompt, an answer or a note, with a hint and log lines below. A folded log
    shows `log_title`. For a long prompt, the text is the beginning, and `log` has the rest."""

    def __init__(
        self,
        kind: BlockKind,
        *,
        hint: str = "",
        log: Sequence[str] = (),
        log_title: str = "",
        turn: object = None,
        is_remark: bool = False,
    ) -> None:
        self.kind: BlockKind = kind
        self.is_remark = is_remark
        """Whether the block is a remark about the whole turn. A remark is the last block of its turn."""
        self.turn = turn
        """The turn that begins with this block, the same object in all lanes; None if no turn begins here."""
        self.finished = False
        self.folded = False
        """Whether the block shows one line instead of its text: its figures, or its number of words."""
        self.start = 0
        self.lead = 0
        """Number of blank rows above the block that align its turn with the same turn in other lanes."""
        self._typeset: TypesetText | None = None
        self._layers: Layers = ()
        self._untypesettable = False
        self._raw = GrowingText()
        self._held = ""
        self._dropped = 0
        """Number of empty lines at the beginning of the text, which are not shown."""
        self._is_exact = True
        """Whether `visible` left all characters unchanged: then positions in the original and the shown text differ
        by `_dropped`."""
        self._words = 0
        self._in_word = False
        self._width = 0
        self._head: tuple[str, Strip] | None = None
        self._figures = ""
        self._body = BlockPart(kind)
        self.log_folded = False
        """Whether the log's title is shown instead of the log. A log without a title is always shown."""
        self._note = BlockPart("note")
        """Why an answer stays plain text, or the figures of thinking; empty for most blocks."""
        self._hint = BlockPart("hint", visible(hint))
        is_prompt = kind == "prompt"
        lines = "\n".join(visible(line).rstrip("\n") for line in log)
        self._log = BlockPart("prompt" if is_prompt else "log", lines)
        self._log_title = BlockPart("note" if is_prompt else "log", log_title)
        self._all_parts = self._body, self._note, self._hint, self._log, self._log_title

    @property
    def _parts(self) -> Iterator[BlockPart]:
        log = self._log_title if self.log_folded and self._log_title else self._log
        return filter(None, (self._body, self._note, self._hint, log))

    @property
    def text(self) -> str:
        return str(self._raw)

    @property
    def shown_text(self) -> str:
        """The text that the block shows: safe to print, and without empty lines at the beginning."""
        return self._body.text

    @property
    def length(self) -> int:
        return len(self._raw)

    def append(self, text: str) -> None:
        self._raw.append(text)
        text = self._held + text
        # A CR LF may be split between two chunks.
        self._held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix(self._held)
        shown = visible(text)
        self._is_exact = self._is_exact and shown == text
        self._take(shown)

    def set_hint(self, hint: str) -> None:
        """Replace the hint below the text. The hint of thinking has its figures, which folded thinking shows too."""
        if self.kind == "thinking":
            self._figures = hint
            self._note.set_text(hint)
        else:
            self._hint.set_text(visible(hint))

    def select(self, selected: bool) -> None:
        self._body.set_tone("turn" if selected else self.kind)

    def finish(self) -> None:
        self.finished = True
        held, self._held = self._held, ""
        self._take(visible(held))

    def _take(self, text: str) -> None:
        if not self._body:
            shown = text.lstrip("\n")  # models often start with empty lines
            self._dropped += len(text) - len(shown)
            text = shown
        if not text:
            return
        if self.kind == "thinking":
            joined = self._in_word and not text[0].isspace()
            self._words += sum(1 for _ in _WORD.finditer(text)) - joined
            self._in_word = not text[-1].isspace()
        if self._typeset is not None:
            self._typeset.append(text)
            self._body.hold(text)
        else:
            self._body.append(text)

    def mark(self, layers: Layers) -> bool:
        if layers == self._layers:
            return False
        self._layers = layers
        self._body.layers = moved_marks(layers, self._shown) if any(layers) else ()
        return True

    def _shown(self, positions: Sequence[int]) -> Mapping[int, int]:
        if self._is_exact:
            return {at: max(0, at - self._dropped) for at in positions}
        shown: dict[int, int] = {}
        text, before, length = self.text, 0, -self._dropped
        for at in positions:
            length += len(visible(text[before:at]))
            shown[at], before = max(0, length), at
        return shown

    def lay_out(self, width: int) -> None:
        """Prepare to wrap the text to `width` cells, gutter included, and discard typeset rows of another width."""
        if width != self._width:
            self._width = width
            self._typeset = None
            for part in self._all_parts:
                part.lay_out(max(width - GUTTER, 2))

    @property
    def is_pending(self) -> bool:
        return self._typeset is None and any(part.is_pending for part in self._all_parts)

    def wrap(self, room: int) -> int:
        for part in self._all_parts:
            room = part.wrap(room)
        return room

    def repaint(self) -> None:
        self._head = None
        self._typeset = None
        for part in self._all_parts:
            part.repaint()

    @property
    def wants_typesetting(self) -> bool:
        """Whether the block is a complete answer that can be typeset as Markdown, and is not completely typeset yet."""
        ready = self.kind == "answer" and self.finished and bool(self._body)
        is_typeset = self._typeset is not None and self._typeset.is_complete
        return ready and not is_typeset and not self._untypesettable

    @property
    def can_grow_typeset(self) -> bool:
        """Whether the block is an answer that still grows and can be typeset while it grows."""
        return self.kind == "answer" and not self.finished and not self._untypesettable

    @property
    def growing(self) -> TypesetText | None:
        return self._typeset if self._typeset is not None and not self._typeset.is_complete else None

    def begin_typeset(self, empty: TypesetText) -> None:
        """Show the text typeset from now on. `empty` is the typeset text, to which new text is appended."""
        empty.append(self._body.text)
        self._typeset = empty

    def end_typeset(self) -> None:
        self._typeset = None

    @property
    def is_plain(self) -> bool:
        return self.kind != "answer" or self._untypesettable or self.length // CHARACTERS > LONGEST

    def set_typeset(self, typeset: TypesetText | None, why: str = "") -> None:
        """Show typeset rows until `lay_out` or `repaint`. With None, stay plain, and show the reason `why`."""
        self._typeset = typeset
        self._untypesettable = typeset is None or not typeset.rows
        if self._untypesettable:
            self._typeset = None
        if why:
            self._note.set_text(why)

    @property
    def height(self) -> int:
        if self.folded:
            return min(1, self._words)
        if self._typeset is not None:
            return len(self._typeset.rows)
        return sum(part.height for part in self._parts)

    @property
    def texts(self) -> Iterator[str]:
        if self._typeset is not None:
            return (strip.text for strip in self._typeset.rows)
        return chain.from_iterable(part.texts for part in self._parts)

    @property
    def is_typeset(self) -> bool:
        return self._typeset is not None

    def strip(self, row: int, palette: TranscriptStyles) -> Strip:
        if self.folded:
            return self._folded_strip(palette)
        if self._typeset is not None:
            return self._typeset.strip(row, self._body.layers)
        for part in self._parts:
            if row < part.height:
                return part.strip(row, palette)
            row -= part.height
        raise IndexError(row)

    def _folded_strip(self, palette: TranscriptStyles) -> Strip:
        text = f"{self.kind} · {self._figures or counted(self._words, 'word')}"
        if self._head is None or self._head[0] != text:
            self._head = text, styled_row("▸ ", text, self.kind, palette)
        return self._head[1]
