"""Terminal cells: their text and look, the escape sequences that produce a look, and names shortened to fit into cells."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias
from unicodedata import category

from rich.cells import cell_len, set_cell_size, split_graphemes
from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS
from rich.style import Style
from textual.color import Color
from textual.strip import Strip
from textual.widget import Widget

CellLook: TypeAlias = tuple[int, str, str]
"""Attributes as a bit mask in Rich's order, and the SGR codes of foreground and background."""
TerminalCell: TypeAlias = tuple[str, CellLook]
"""The text and the look of a cell. The right half of a wide character has the text ""."""

BLANK = " "
_PLAIN: CellLook = (0, "", "")
_ATTRIBUTES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "51", "52", "53")
_OFF = {2: "23", 3: "24", 6: "27"}
"""The codes that end italics, underline and reverse without changing the colours, by the number of the attribute's bit."""
_MARKED = 0b1_1111_0111_1000
"""The attributes that are visible on a space: underline, blink, reverse, strike, frame and overline."""

# Control characters and characters that reorder text: these occupy no cell. The program cleans text from models on
# arrival, but an input field can contain any pasted text, or the name of any folder.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_HALVES = re.compile("[\ud800-\udfff]")
"""Surrogates, which UTF-8 cannot encode."""

_FLAG = range(0x1F1E6, 0x1F200)
_JOINING = frozenset("\u200d\ufe0f\u20e3\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")


@lru_cache(maxsize=4096)
def _look(style: Style, colors: ColorSystem) -> CellLook:
    fore, back = style.color, style.bgcolor
    return (
        style._attributes & style._set_attributes,
        ";".join(fore.downgrade(colors).get_ansi_codes()) if fore and not fore.is_default else "",
        ";".join(back.downgrade(colors).get_ansi_codes(foreground=False))
        if back and not back.is_default
        else "",
    )


def cells_of(strip: Strip, colors: ColorSystem) -> list[TerminalCell]:
    """Return the cells of a strip. Spaces get no foreground colour, so that spaces that look the same are equal."""
    cells: list[TerminalCell] = []
    for text, style, control in strip:
        if control or not text:
            continue
        if not text.isprintable():
            text = _HALVES.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub("", text))
        look = _look(style, colors) if style else _PLAIN
        blank = (BLANK, look if look[0] & _MARKED else (0, "", look[2]))
        if text.isascii():
            if text.isspace():
                cells += [blank] * len(text)
            else:
                cells += [blank if character == BLANK else (character, look) for character in text]
            continue
        first = len(cells)
        for start, end, width in split_graphemes(text)[0]:
            grapheme = text[start:end]
            if grapheme == BLANK:
                cells.append(blank)
            elif width:
                cells.append((grapheme, look))
                cells += [("", look)] * (width - 1)
            _join(cells, grapheme if not width else "")
        _fit(cells, first + cell_len(text), blank)
    return cells


def _fit(cells: list[TerminalCell], length: int, blank: TerminalCell) -> None:
    """Cut or pad the cells to `length`: Rich's two functions for widths differ on text that begins with a joiner."""
    if len(cells) > length:
        halved = not cells[length][0]
        del cells[length:]
        if halved:
            cells[-1] = blank
    cells += [blank] * (length - len(cells))


def _join(cells: list[TerminalCell], mark: str) -> None:
    """Append the zero-width character `mark` to the last cell; without a mark, combine two halves of a flag."""
    at = len(cells) - 1
    if mark:
        while at >= 0 and not cells[at][0]:
            at -= 1
        if at >= 0:
            cells[at] = cells[at][0] + mark, cells[at][1]
    elif at > 0 and all(len(text) == 1 and ord(text) in _FLAG for text, _ in cells[at - 1 :]):
        cells[at - 1] = cells[at - 1][0] + cells[at][0], cells[at - 1][1]
        cells[at] = "", cells[at][1]


@lru_cache(maxsize=4096)
def has_ambiguous_width(grapheme: str) -> bool:
    """Return whether terminals may disagree on the width: for flags, joiners, variation selectors, skin tones and
    spacing marks."""
    return len(grapheme) > 1 and (
        not _JOINING.isdisjoint(grapheme) or any(category(mark) not in ("Mn", "Me") for mark in grapheme[1:])
    )


def _set(look: CellLook, before: CellLook) -> list[str]:
    (attributes, fore, back), (old_attributes, old_fore, old_back) = look, before
    added = attributes & ~old_attributes
    codes = [code for bit, code in enumerate(_ATTRIBUTES) if added & 1 << bit]
    if fore != old_fore:
        codes.append(fore or "39")
    if back != old_back:
        codes.append(back or "49")
    return codes


class Pen:
    """Tracks the terminal's current colours and attributes. A pen begins with the terminal's defaults."""

    def __init__(self, colors: str | None) -> None:
        self.colors = COLOR_SYSTEMS[colors or "truecolor"]
        self.look = _PLAIN

    def sequence_for(self, cell: TerminalCell) -> str:
        text, look = cell
        if look == self.look:
            return ""
        old_attributes, old_fore, old_back = self.look
        attributes, _, back = look
        if text == BLANK and back == old_back and not (attributes | old_attributes) & _MARKED:
            return ""
        self.look = look
        # An empty code resets the look, and is one byte shorter than the code 0.
        codes = [""] if (removed := old_attributes & ~attributes) else []
        codes += _set(look, _PLAIN if removed else (old_attributes, old_fore, old_back))
        bits = [bit for bit in range(len(_ATTRIBUTES)) if removed & 1 << bit]
        if removed and all(bit in _OFF for bit in bits):
            ends = [_OFF[bit] for bit in bits] + _set(look, (old_attributes & ~removed, old_fore, old_back))
            codes = min(codes, ends, key=lambda these: len(";".join(these)))
        return f"\x1b[{';'.join(codes)}m"

    def reset_sequence(self) -> str:
        return "\x1b[m" if self.look != _PLAIN else ""


class Look(NamedTuple):
    """The difference between the look of a text and the look of a widget's plain text."""

    color: str = ""
    """A variable of Textual's themes; empty for the widget's own colour."""
    ansi: str = ""
    """The style in themes with the terminal's own colours, in Rich's notation, such as `blue` or `dim`."""
    attributes: str = ""
    """The attributes in Rich's notation, such as `bold` or `underline`."""
    adds: bool = False
    """Whether the style is added to other styles. An added style has no background, and a colour only if `color` is set."""
    ground: str = ""
    """A theme variable for the background, which the theme `ansi` ignores; empty for the widget's background."""


def styles_of(widget: Widget, looks: Mapping[str, Look]) -> dict[str, Style]:
    """Return the style of each look on a widget's background, in the current theme. Textual's component classes have the
    same effect, but double the time that styles take at the start."""
    base = widget.rich_style
    own = Color.from_rich_color(base.bgcolor) if base.bgcolor is not None else Color(0, 0, 0)
    app = widget.app
    styles: dict[str, Style] = {}
    for name, look in looks.items():
        style = Style() if look.adds else base
        ground = own
        if look.ground and not app.native_ansi_color:
            ground = _on(own, app.theme_variables[look.ground])
            style += Style(bgcolor=ground.rich_color)
        if app.native_ansi_color:
            style += Style.parse(look.ansi)
        elif look.color:
            style += Style.from_color(_on(ground, app.theme_variables[look.color]).rich_color)
        styles[name] = style + Style.parse(look.attributes)
    return styles


def _on(ground: Color, color: str) -> Color:
    """Return a colour blended with a background. `auto 60%` is 60% of black or white, whichever contrasts more."""
    automatic, _, share = color.partition(" ")
    if automatic == "auto":
        return ground + ground.get_contrast_text(float(share.rstrip("%")) / 100)
    return ground + Color.parse(color)


_SEPARATORS = " .-:/@"
_WORD_START = re.compile(rf"(?<=[{re.escape(_SEPARATORS)}])[^{re.escape(_SEPARATORS)}]")
_READABLE = 12
"""Width in cells at which a name is readable, unless its distinctive part is longer."""
_LONGEST = 20
"""Width in cells that a name always gets, before the figures beside it."""


def shortest_name_width(name: str, others: Iterable[str]) -> int:
    _, core, _ = _parts(name, others)
    needed = _READABLE if core == name else max(_READABLE, cell_len(core) + 2)
    return min(cell_len(name), needed, _LONGEST)


def shortened(name: str, others: Iterable[str], cells: int) -> str:
    """Return `name` in at most `cells` cells. The parts that the name shares with other names are dropped first: beside
    `SmolLM2-135M.Q3_K_M`, `SmolLM2-135M.Q4_1` becomes `SmolLM2…Q4_1`."""
    if cell_len(name) <= cells:
        return name
    head, core, tail = _parts(name, others)
    if not head:
        return _cut(name, cells)
    room = cells - cell_len(core)
    ending = tail if room >= cell_len(tail) + 4 else "…" if tail else ""
    room -= cell_len(ending)
    if room < 1:
        return _cut(core, cells)
    beginning = head if cell_len(head) <= room else _cut(head, room, _SEPARATORS)
    return f"{beginning}{core}{ending}"


def _parts(name: str, others: Iterable[str]) -> tuple[str, str, str]:
    """Return the beginning that another name shares, the distinctive part (by default all), and the shared end, cut
    between words."""
    distinct = [other for other in others if other != name]
    if not distinct:
        return "", name, ""
    starts = [0, *(match.start() for match in _WORD_START.finditer(name))]
    common = max(_shared(name, other) for other in distinct)
    start = max(at for at in starts if at <= common)
    shared_end = max(_shared(name[:start:-1], other[::-1]) for other in distinct)
    ends = [at - 1 for at in starts if start < at - 1 and at - 1 >= len(name) - shared_end]
    end = min(ends, default=len(name))
    return name[:start], name[start:end], name[end:]


def _shared(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def _cut(text: str, cells: int, loose: str = " ") -> str:
    """Shorten a text to `cells` cells with an ellipsis. Characters of `loose` just before the ellipsis are removed."""
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip(loose) + "…" if cells > 1 else ""
