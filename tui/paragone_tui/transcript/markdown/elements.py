"""Rich's Markdown elements, with the looks of this program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from markdown_it.token import Token
from rich import box, markdown
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.markdown import Markdown
from rich.rule import Rule
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from paragone_tui.transcript.markdown.code_block import code_rows
from paragone_tui.transcript.palette import TranscriptStyles

_NUMERAL = 4
"""Width in cells of an item's number, its point and a blank: the texts of items 9 and 10 begin in the same column."""
_GAP = 3
"""Cells between the columns of a table."""


def theme(palette: TranscriptStyles) -> Theme:
    """Return Rich's theme for the Markdown elements."""
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
    """Parsed Markdown, which Rich renders."""

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
        for row in code_rows(
            str(self.text).removesuffix("\n"), self.lexer_name, options.max_width, self._palette
        ):
            yield from row
            yield Segment.line()


class _Formula(markdown.TextElement):
    """A LaTeX formula on lines of its own, shown as source."""

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
