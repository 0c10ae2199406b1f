"""Long texts in prompts: a short mark replaces a long pasted text, and the transcript folds a long prompt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from paragone.wording import counted
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.text_field import is_editable, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paragone_workbench.conversation.tree import Prompt

_MOST_LINES = 10
_MOST_CHARACTERS = 2_000
_BEGINNING_LINES = 4
_BEGINNING = 400
"""Largest number of characters of the beginning of a long text that is shown while the text is folded."""
_END = 60
"""Largest number of characters of the end of a long text that is shown while the text is folded."""
_SHOWN = 20_000
"""Largest number of characters that the transcript shows of the rest of a long prompt and of its files."""
_KEPT = 50_000_000
"""Number of characters of pasted texts that are kept, so that undo can restore their marks."""
_NEW_LINE = "\n"


def is_long(text: str) -> bool:
    """Return whether a pasted text is so long that it would hide the text around it in the prompt, which has 8 rows."""
    return text.count(_NEW_LINE) >= _MOST_LINES or len(text) > _MOST_CHARACTERS or not is_editable(text)


def size_shown(text: str) -> str:
    """Return the size of a text in lines and characters, or in lines and bytes if the text is large."""
    size = size_of(text) if len(text) > _MOST_CHARACTERS else counted(len(text), "character")
    lines = text.removesuffix(_NEW_LINE).count(_NEW_LINE) + 1
    return f"{counted(lines, 'line')}, {size}"


def split_long(text: str) -> tuple[str, str]:
    """Split a long text into its beginning and its rest. The rest of a short text is empty."""
    if not is_long(text):
        return text, ""
    beginning = _NEW_LINE.join(text.split(_NEW_LINE, _BEGINNING_LINES)[:_BEGINNING_LINES])[:_BEGINNING]
    return beginning, text[len(beginning) :].removeprefix(_NEW_LINE)


def folded_prompt(prompt: Prompt, key: str) -> tuple[str, list[str], str]:
    """Return the shown text of a prompt, the lines to fold, and a title to show while the lines are folded.

    The folded lines are the rest of a long prompt and the texts of its files. The title names `key`, which unfolds the lines.
    """
    text, rest = split_long(prompt.written)
    text = _NEW_LINE.join((text, *(f"[{image.name}]" for image in prompt.images)))
    names = ", ".join(file.label for file in prompt.files)
    more = " and ".join(filter(None, (f"{size_shown(rest)} more" if rest else "", one_line(names))))
    if not more:
        return text, [], ""
    title = f"{more}; {key} shows them." if rest else f"{more}; {key} shows the text."
    if rest:
        end = one_line(rest.rstrip()[-_END:].split(_NEW_LINE)[-1].strip())
        title = f"{title} The end: {end}"
    folded = "\n\n".join(filter(None, (rest, *(file.section for file in prompt.files))))
    if len(folded) > _SHOWN:
        folded = f"{folded[:_SHOWN]} … ({counted(len(folded) - _SHOWN, 'more character')})"
    return text, folded.split(_NEW_LINE), title


class PastedTexts:
    """The pasted texts, and the marks that replace them in the prompt. A mark has no line breaks."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        """The pasted texts, by their marks."""
        self._count = 0

    def fold(self, text: str) -> str:
        """Keep a text, and return a new mark for it, which has a number and the text's size."""
        while sum(map(len, self._texts.values())) > _KEPT:
            del self._texts[next(iter(self._texts))]
        mark = ""
        while not mark or mark in self._texts:
            self._count += 1
            mark = f"[pasted text {self._count}: {size_shown(text)}]"
        self._texts[mark] = text
        return mark

    def marked(self, text: str) -> Mapping[str, str]:
        """Return the pasted texts whose marks are in a text, by their marks."""
        return {mark: whole for mark, whole in self._texts.items() if mark in text}

    def take_over(self, texts: Mapping[str, str]) -> None:
        """Add texts by their marks, such as those of a restored prompt."""
        self._texts.update(texts)

    def unfold(self, text: str) -> str:
        """Return a text with the pasted texts in place of their marks."""
        return self._marks().sub(lambda mark: self._texts[mark[0]], text) if self._texts else text

    def mark_around(self, line: str, column: int) -> tuple[int, int]:
        """Return the first column of the mark around a column, and the column after the mark; without a mark, `column` twice."""
        for mark in self._marks().finditer(line) if self._texts else ():
            if mark.start() < column < mark.end():
                return mark.span()
        return column, column

    def _marks(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self._texts)))
