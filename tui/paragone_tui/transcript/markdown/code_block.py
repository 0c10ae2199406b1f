"""Blocks of code: highlighted, on a background that fills each row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from textual.strip import Strip

from paragone_tui.transcript.palette import TranscriptStyles

_INDENT = 2
_HANG = 2
"""Extra indentation, in cells, of the further rows of a line that is broken."""
_HIGHLIGHT_LIMIT = 20_000
"""Longest code, in characters, whose syntax is highlighted: highlighting longer code takes too long."""
_LONGEST_LINE = 400
"""Longest line, in characters, of code whose syntax is highlighted."""
_GAP = re.compile(r"\s{100}")
"""White space longer than in real code, on which some patterns of Pygments would take very long."""
_HIGHLIGHTED = (
    "bash c c++ console cpp css dart diff docker dockerfile elixir go golang haskell hs html ini java javascript jl js json jsx "
    "julia kotlin lua markdown md perl php powershell ps1 py python python3 r rb rs ruby rust scala sh shell sql swift toml ts "
    "tsx typescript xml yaml yml zsh"
)
"""Languages whose syntax is highlighted. Pygments hangs on some other languages, such as `html+ng2` with many brackets."""
_LOOKS: Mapping[tuple[str, ...], str] = {
    ("Comment",): "code-comment",
    ("Generic", "Deleted"): "code-keyword",
    ("Generic", "Inserted"): "code-string",
    ("Keyword",): "code-keyword",
    ("Literal", "Number"): "code-number",
    ("Literal", "String"): "code-string",
    ("Name", "Attribute"): "code-name",
    ("Name", "Builtin"): "code-name",
    ("Name", "Class"): "code-name",
    ("Name", "Decorator"): "code-name",
    ("Name", "Function"): "code-name",
    ("Name", "Tag"): "code-keyword",
    ("Operator", "Word"): "code-keyword",
}
"""The looks of the kinds of Pygments tokens that do not look like plain code."""
_LINES = 24
"""Number of lines at the end of growing code that are highlighted again when a line is appended."""


def code_rows(code: str, language: str, width: int, palette: TranscriptStyles) -> list[Strip]:
    """Return code as rows of `width` cells. Longer lines are broken."""
    room = max(width - _INDENT - 1, 2)
    ground = palette["code-block"]
    lines: list[list[Segment]] = [[]]
    for look, text in _highlighted(code.expandtabs(4), language):
        for number, part in enumerate(text.split("\n")):
            if number:
                lines.append([])
            if part:
                lines[-1].append(Segment(part, palette[look]))
    margin = Segment(" " * _INDENT, ground)
    rows = [Strip([margin, *row]) for line in lines for row in _broken(line, room)]
    return [row.adjust_cell_length(max(width, row.cell_length), ground) for row in rows]


def complete_part(code: str, language: str) -> int:
    """Return how many characters of growing code keep their colours, whatever code follows; 0 while there are few lines.

    The returned part ends with a blank line, before a line without indentation, outside of strings and comments.
    """
    at = -1
    for _ in range(_LINES):
        at = code.find("\n", at + 1)
        if at < 0:
            return 0
    candidates = {found.end() for found in re.finditer(r"\n\n(?=[^\s`~])", code) if found.end() > at}
    if not candidates:
        return 0
    end = 0
    for look, text in _highlighted(code, language):
        within = [cut for cut in candidates if end < cut <= end + len(text)]
        if within and (look == "code-block" or text.isspace()):
            return max(within)
        end += len(text)
    return 0


def _highlighted(code: str, language: str) -> Iterator[tuple[str, str]]:
    """Yield the tokens of code, each as its look and its text."""
    lexer = _lexer(language.lower()) if _can_be_highlighted(code, language) else None
    if lexer is None:
        yield "code-block", code
        return
    for _, kind, text in lexer.get_tokens_unprocessed(code):
        yield _look(kind), text


@lru_cache
def _lexer(language: str) -> Lexer:
    return get_lexer_by_name(language)


@lru_cache(maxsize=512)
def _look(kind: tuple[str, ...]) -> str:
    """Return the look of a kind of tokens, or else the look of the next more general kind."""
    general = (kind[:length] for length in range(len(kind), 0, -1))
    return next((_LOOKS[names] for names in general if names in _LOOKS), "code-block")


def _can_be_highlighted(code: str, language: str) -> bool:
    """Return whether Pygments can highlight the code in a moment. A slow pattern of Pygments cannot be interrupted."""
    return (
        language.lower() in _HIGHLIGHTED.split()
        and len(code) <= _HIGHLIGHT_LIMIT
        and max(map(len, code.splitlines()), default=0) <= _LONGEST_LINE
        and _GAP.search(code) is None
    )


def _broken(line: list[Segment], room: int) -> Iterator[list[Segment]]:
    """Yield a line as rows of at most `room` cells. A row ends at a blank if there is a blank near its end.

    Further rows are indented by `_HANG` cells more than the line, and by at most half of `room`.
    """
    text = "".join(segment.text for segment in line)
    if (len(text) <= room and text.isascii()) or cell_len(text) <= room:
        yield line
        return
    indent = len(text) - len(text.lstrip(" "))
    hang = min(indent + _HANG, (room - 2) // 2)
    margin = [Segment(" " * hang, line[0].style)]
    rest, before = line, list[Segment]()
    while text:
        end = len(chop_cells(text, room)[0])
        if end < len(text):
            end = text.rfind(" ", max(indent, end * 2 // 3), end) + 1 or end
        row, rest = _parted(rest, end)
        text = text[end:]
        yield [*before, *row]
        if not before:
            indent, before, room = 0, margin, room - hang


def _parted(line: list[Segment], at: int) -> tuple[list[Segment], list[Segment]]:
    """Return the first `at` characters of a line, and the rest of the line."""
    first: list[Segment] = []
    for number, (text, style, _) in enumerate(line):
        if at < len(text):
            head = [Segment(text[:at], style)] if at else []
            return first + head, [Segment(text[at:], style), *line[number + 1 :]]
        first.append(line[number])
        at -= len(text)
    return first, []
