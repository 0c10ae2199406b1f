"""The Markdown elements of a transcript, in the styles of Textual's theme."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

from markdown_it.token import Token
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from rich import box, markdown
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.markdown import Markdown
from rich.rule import Rule
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme
from textual.strip import Strip

from paragone_tui.transcript.text import TranscriptStyles

_INDENT = 2
_HANG = 2
"""Extra indentation, in cells, of the continuation rows of a broken line."""
_HIGHLIGHT_LIMIT = 20_000
"""Longest code, in characters, whose syntax is highlighted: highlighting longer code takes too long."""
_LONGEST_LINE = 400
"""Longest line, in characters, of code whose syntax is highlighted."""
_CODE_GAP = re.compile(r"\s{100}")
"""White space longer than in real code, on which some patterns of Pygments would take very long."""
_HIGHLIGHTED = (
    "bash c c++ console cpp css dart diff docker dockerfile elixir go golang haskell hs html ini java javascript jl js json jsx "
    "julia kotlin lua markdown md perl php powershell ps1 py python python3 r rb rs ruby rust scala sh shell sql swift toml ts "
    "tsx typescript xml yaml yml zsh"
)
"""Languages whose syntax is highlighted. Pygments hangs on some other languages, such as `html+ng2` with many brackets."""
_CODE_LOOKS: Mapping[tuple[str, ...], str] = {
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


def length_with_fixed_colours(code: str, language: str) -> int:
    """Return how many characters of growing code keep their colours, whatever code follows; 0 for few lines. That part
    ends with a blank line before a line without indentation, outside strings and comments."""
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
    general = (kind[:length] for length in range(len(kind), 0, -1))
    return next((_CODE_LOOKS[names] for names in general if names in _CODE_LOOKS), "code-block")


def _can_be_highlighted(code: str, language: str) -> bool:
    """Return whether Pygments can highlight the code in a moment. A slow pattern of Pygments cannot be interrupted."""
    return (
        language.lower() in _HIGHLIGHTED.split()
        and len(code) <= _HIGHLIGHT_LIMIT
        and max(map(len, code.splitlines()), default=0) <= _LONGEST_LINE
        and _CODE_GAP.search(code) is None
    )


def _broken(line: list[Segment], room: int) -> Iterator[list[Segment]]:
    """Yield a line as rows of at most `room` cells, broken at a space near the end if possible; further rows are indented."""
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
    first: list[Segment] = []
    for number, (text, style, _) in enumerate(line):
        if at < len(text):
            head = [Segment(text[:at], style)] if at else []
            return first + head, [Segment(text[at:], style), *line[number + 1 :]]
        first.append(line[number])
        at -= len(text)
    return first, []


_NUMERAL = 4
"""Width in cells of an item's number, its point and a blank: the texts of items 9 and 10 begin in the same column."""
_GAP = 3
"""Cells between the columns of a table."""


def theme(palette: TranscriptStyles) -> Theme:
    accent, code, quiet = (Style(color=palette[tone].color) for tone in ("accent", "code", "note"))
    bold = Style(bold=True)
    styles: Mapping[str, Style] = {
        "markdown.h1": accent + Style(bold=True, underline=True),
        "markdown.h2": accent + bold,
        "markdown.h3": bold,
        "markdown.h4": bold + Style(italic=True),
        "markdown.h5": Style(italic=True),
        "markdown.h6": Style(italic=True),
        "markdown.code": code,
        "markdown.math": code,
        "markdown.block_quote": quiet,
        "markdown.item.bullet": accent,
        "markdown.item.number": accent,
        "markdown.hr": quiet,
        "markdown.link": Style(underline=True),
        "markdown.link_url": quiet,
        "markdown.table.border": quiet,
        "markdown.table.header": bold,
    }
    return Theme(styles)


class Elements(Markdown):
    def __init__(self, tokens: Sequence[Token], palette: TranscriptStyles) -> None:
        # Rich's own constructor makes a parser. That takes longer than rendering most texts.
        self.parsed = list(tokens)
        self.palette = palette
        self.code_theme = self.inline_code_theme = ""
        self.inline_code_lexer = None
        self.justify = None
        self.style = "none"
        self.hyperlinks = False


class _Heading(markdown.Heading):
    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = {}


class _CodeBlock(markdown.CodeBlock):
    """A code block on a background of its own, without a box around it."""

    def __init__(self, lexer_name: str, palette: TranscriptStyles) -> None:
        super().__init__(lexer_name, "")
        self._palette = palette

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _CodeBlock:
        assert isinstance(markdown, Elements)
        return cls(token.info.partition(" ")[0], markdown.palette)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, ground = options.max_width, self._palette["code-block"]
        lines: list[list[Segment]] = [[]]
        code = str(self.text).removesuffix("\n").expandtabs(4)
        for look, text in _highlighted(code, self.lexer_name):
            for number, part in enumerate(text.split("\n")):
                if number:
                    lines.append([])
                if part:
                    lines[-1].append(Segment(part, self._palette[look]))
        margin = Segment(" " * _INDENT, ground)
        for line in lines:
            for row in _broken(line, max(width - _INDENT - 1, 2)):
                strip = Strip([margin, *row])
                yield from strip.adjust_cell_length(max(width, strip.cell_length), ground)
                yield Segment.line()


class _Formula(markdown.TextElement):
    style_name = "markdown.math"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = console.render_lines(self.text, options.update(width=max(2, options.max_width - 2)), pad=False)
        for row in rows:
            yield Segment("  ")
            yield from row
            yield Segment.line()


class _List(markdown.ListElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, item in enumerate(self.items, self.list_start or 0):
            numeral = f"{number}. ".rjust(_NUMERAL) if self.list_type == "ordered_list_open" else " • "
            style = console.get_style("markdown.item.number")
            width = max(2, options.max_width - len(numeral))
            lines = console.render_lines(item.elements, options.update(width=width), style=item.style)
            for row, line in enumerate(lines):
                yield Segment(" " * len(numeral) if row else numeral, style)
                yield from line
                yield Segment.line()


class _Rule(markdown.HorizontalRule):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Rule(style="markdown.hr", characters="─")


class _Table(markdown.TableElement):
    """A table with one line, below the header. If the table is too narrow for its words, each row becomes a list of cells."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = self.header.row.cells if self.header and self.header.row else []
        rows = [row.cells for row in self.body.rows] if self.body else []
        columns = zip(head, *rows, strict=False)
        width = sum(max(_longest_word(cell.content) for cell in column) + _GAP for column in columns) - _GAP
        if width > options.max_width and rows:
            yield from _listed(head, rows)
            return
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, border_style="markdown.table.border"
        )
        for cell in head:
            table.add_column(
                cell.content, header_style="markdown.table.header", justify=cell.justify, overflow="fold"
            )
        for cells in rows:
            table.add_row(*(cell.content for cell in cells))
        yield table


def _listed(
    head: Sequence[markdown.TableDataElement], rows: Sequence[Sequence[markdown.TableDataElement]]
) -> RenderResult:
    for number, cells in enumerate(rows):
        if number:
            yield Text()
        listed = Table.grid(padding=(0, 2, 0, 0))
        listed.add_column(style="markdown.table.header", overflow="fold")
        listed.add_column(overflow="fold")
        for name, cell in zip(head, cells, strict=False):
            cell.content.justify = "left"
            listed.add_row(name.content, cell.content)
        yield listed


def _longest_word(text: Text) -> int:
    return max(map(cell_len, text.plain.split()), default=0)


Elements.elements = {
    **Markdown.elements,
    "heading_open": _Heading,
    "fence": _CodeBlock,
    "code_block": _CodeBlock,
    "math_block": _Formula,
    "bullet_list_open": _List,
    "ordered_list_open": _List,
    "hr": _Rule,
    "table_open": _Table,
}
