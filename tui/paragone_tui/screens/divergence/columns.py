"""The columns of a fork: for each engine, the tokens that it could have chosen, and the rest of its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from math import exp
from typing import NamedTuple

from rich.console import Console
from rich.style import Style
from rich.text import Text

from paragone import Alternative
from paragone_tui.terminal.text import bar, one_line, visible
from paragone_tui.transcript.palette import heat_look
from paragone_workbench.compare.confidence import quoted
from paragone_workbench.compare.fork import Fork, ForkSide

GAP = 3
"""Number of cells between two columns."""
_NARROWEST = 28
"""Minimum width of a column in cells. Columns that would be narrower are below each other."""
_TOKEN = 14
"""Largest number of cells of a token's text."""
_FOLLOWING = 400
"""Number of characters of an answer that are shown after the fork."""
_CONSOLE = Console(width=1000, color_system=None)
"""Wraps texts. Nothing is written to this console."""


class Cursor(NamedTuple):
    """The selected token: its column and its row."""

    column: int
    """Index of the engine."""
    row: int


def fork_rows(
    fork: Fork, cursor: Cursor, width: int, following: int, palette: Mapping[str, Style]
) -> Iterator[Text]:
    """Yield the rows of all columns, side by side as far as `width` cells allow.

    `following` is the largest number of rows of the text after the fork.
    """
    abreast = min(max(1, (width + GAP) // (_NARROWEST + GAP)), len(fork.sides))
    cells = (width + GAP) // abreast - GAP
    for first in range(0, len(fork.sides), abreast):
        numbers = range(first, min(first + abreast, len(fork.sides)))
        columns = [_sections(fork, number, cursor, cells, following, palette) for number in numbers]
        for sections in zip(*columns, strict=True):  # a section begins on the same row in all columns
            for rows in zip_longest(*sections, fillvalue=Text()):
                yield Text(" " * GAP).join(_padded(row, cells) for row in rows)
            if any(sections):
                yield Text()


def _padded(text: Text, cells: int) -> Text:
    text = text.copy()
    text.truncate(cells, overflow="ellipsis", pad=True)
    return text


def _sections(
    fork: Fork, number: int, cursor: Cursor, width: int, rows: int, palette: Mapping[str, Style]
) -> tuple[list[Text], ...]:
    """Return the four sections of a column: the engine's name, its tokens, its confidence, and the rest of its answer."""
    side = fork.sides[number]
    is_current = number == cursor.column
    style = palette["accent"] + Style(bold=True) if is_current else Style(bold=True)
    name = [Text(("◆ " if number == 0 else "") + one_line(side.name), style=style)]
    following = list(_following(fork, side, width, rows, palette))
    if side.parted_earlier:
        why = "This answer parts earlier: its tokens here follow another text."
        return name, [], list(_wrapped(why, width)), []
    if side.index is None:
        why = "The tokens of this answer were not kept. Answer again to see them."
        return name, [], list(_wrapped(why, width)), following
    if side.token is None:
        ended = side.answer.finish == "stop"
        why = "The engine ended its answer here." if ended else "The answer was cut before this place."
        return name, [], list(_wrapped(why, width)), []
    choices = list(_choices(side, cursor.row if is_current else None, width, palette))
    return name, choices, list(_wrapped(visible(side.sentence), width)), following


def _choices(
    side: ForkSide, selected: int | None, width: int, palette: Mapping[str, Style]
) -> Iterator[Text]:
    """Yield a row for each token: its text, a bar, its probability, and ◂ if the engine chose this token."""
    shown = [visible(quoted(choice.text)) for choice in side.choices]
    cells = min(_TOKEN, max((Text(text).cell_len for text in shown), default=0))
    for at, (choice, text) in enumerate(zip(side.choices, shown, strict=True)):
        own = side.is_own(choice)
        row = Text.assemble(("▸ " if at == selected else "  ", palette["accent"]))
        row.append_text(_padded(Text(text, style="bold" if own else ""), cells))
        room = max(1, width - cells - 13)
        filled = bar(exp(choice.logprob), room)
        row.append(" " + filled + " " * (room - Text(filled).cell_len), style=_bar_style(choice, palette))
        row.append(f" {exp(choice.logprob):6.1%}", style="bold" if own else "")
        row.append(" ◂" if own else "", style=palette["accent"])
        if at == selected:
            row.stylize("reverse", 2, 2 + min(len(text), cells))
        yield row


def _bar_style(choice: Alternative, palette: Mapping[str, Style]) -> Style:
    return Style(color=palette[heat_look(choice.logprob) or "heat-likely"].color)


def _following(
    fork: Fork, side: ForkSide, width: int, most: int, palette: Mapping[str, Style]
) -> Iterator[Text]:
    """Yield the rows of the answer from the fork on, with the tokens coloured by their probabilities."""
    text = Text()
    if side.index is None:
        text.append(visible(side.answer.text[len(fork.before) :][:_FOLLOWING]))
    for at, token in enumerate(side.answer.tokens[side.index :] if side.index is not None else ()):
        if len(text) > _FOLLOWING or (token.text and token.channel != fork.channel):
            break
        place = Style(reverse=True, bold=True) if not at else Style()
        word = visible(token.text).lstrip(" ")
        if at:
            text.append(" " * (len(visible(token.text)) - len(word)))
        look = heat_look(token.logprob) if token.logprob is not None else ""
        text.append(word, style=_style(look, palette) + place)
    rows = list(text.wrap(_CONSOLE, width))
    yield from rows[:most]
    if len(rows) > most:
        yield Text("…", style="dim")


def _style(look: str, palette: Mapping[str, Style]) -> Style:
    """Return the style of a look from `heat_look`. Unlikely tokens are underlined, since the fork is in reverse video."""
    if look == "heat-unlikely":
        return Style(color=palette[look].color, underline=True)
    return palette[look] if look else Style()


def heat_legend(palette: Mapping[str, Style]) -> Text:
    """Return a line that explains the sign ◂ and the colours of the tokens."""
    bands = ("90% or more", ""), ("50%", "heat-likely"), ("10%", "heat-unsure"), ("less", "heat-unlikely")
    shown = [Text(text, style=_style(look, palette)) for text, look in bands]
    sign = Text.assemble(("◂", palette["accent"]), " its choice   probability of each token: ")
    return sign + Text(" · ").join(shown)


def _wrapped(text: str, width: int) -> Iterator[Text]:
    yield from Text(text, style="dim").wrap(_CONSOLE, width)
