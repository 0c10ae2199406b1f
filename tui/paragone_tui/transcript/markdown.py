"""Typesets an answer as Markdown. Slow to import, so only imported for the first answer, in a thread."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich import box, markdown
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.markdown import Markdown, MarkdownElement
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.table import Table
from rich.theme import Theme
from textual.strip import Strip

from paragone_tui.terminal.text import visible
from paragone_tui.transcript.palette import Palette
from paragone_tui.transcript.part import GUTTER

_HIGHLIGHT_LIMIT = 20_000
"""Longest code block, in characters, whose syntax is highlighted; more would take too long."""
_LONGEST_LINE = 400
"""Longest line of code whose syntax is highlighted."""
_GAP = re.compile(r"\s{100}")
"""White space that no code has."""
_HIGHLIGHTED = (
    "bash c c++ console cpp css dart diff docker dockerfile elixir go golang haskell hs html ini java javascript jl js json jsx "
    "julia kotlin lua markdown md perl php powershell ps1 py python python3 r rb rs ruby rust scala sh shell sql swift toml ts "
    "tsx typescript xml yaml yml zsh"
)
"""Languages whose syntax is highlighted. Of the others, `html+ng2` does not get past a row of brackets, for example."""


class NotWanted(Exception):
    """The rows are no longer wanted."""


def typeset(
    text: str, width: int, palette: Palette, *, dark: bool, is_wanted: Callable[[], bool] = lambda: True
) -> tuple[Strip, ...]:
    """Return Markdown text as rows of at most `width` cells, gutter included.

    HTML and Rich's console markup remain plain text, and links do not become hyperlinks. `is_wanted` is asked between
    paragraphs; NotWanted is raised when it returns False.
    """
    console = Console(
        file=io.StringIO(),
        width=max(width - GUTTER, 8),
        color_system="truecolor",
        force_terminal=True,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        theme=_theme(palette),
    )
    answer = _Answer(text, "ansi_dark" if dark else "ansi_light", is_wanted)
    base = palette["answer"]
    gutter = Segment(" " * GUTTER, base)
    lines = console.render_lines(answer, pad=False)
    strips = [Strip(_trim([gutter, *_plain(line, base)])) for line in lines]
    while strips and not strips[-1].text.strip():
        strips.pop()
    while strips and not strips[0].text.strip():
        strips.pop(0)
    return tuple(strips)


def _plain(line: Iterable[Segment], base: Style) -> Iterable[Segment]:
    for text, style, control in line:
        if not control and text:
            yield Segment(text, base + style if style else base)


def _trim(line: list[Segment]) -> list[Segment]:
    while line and not line[-1].text.strip(" "):
        line.pop()
    return list(Segment.simplify(line))


def _theme(palette: Palette) -> Theme:
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
        "markdown.code_block": code,
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


class _Heading(markdown.Heading):
    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = {}


class _CodeBlock(markdown.CodeBlock):
    """A code block, indented by two cells instead of boxed."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        lexer = self.lexer_name if _can_be_highlighted(code, self.lexer_name) else "text"
        syntax = Syntax(code, lexer, theme=self.theme, word_wrap=True, background_color="default")
        yield Padding(syntax, (0, 0, 0, 2), expand=False)


def _can_be_highlighted(code: str, language: str) -> bool:
    """Return whether Pygments takes a moment only: nothing can interrupt one of its patterns that matches for long."""
    return (
        language.lower() in _HIGHLIGHTED.split()
        and len(code) <= _HIGHLIGHT_LIMIT
        and max(map(len, code.splitlines()), default=0) <= _LONGEST_LINE
        and _GAP.search(code) is None
    )


class _Rule(markdown.HorizontalRule):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Rule(style="markdown.hr", characters="─")


class _Table(markdown.TableElement):
    """A table without lines, except one below the header."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, border_style="markdown.table.border"
        )
        for cell in self.header.row.cells if self.header and self.header.row else ():
            table.add_column(
                cell.content, header_style="markdown.table.header", justify=cell.justify, overflow="fold"
            )
        for row in self.body.rows if self.body else ():
            table.add_row(*(cell.content for cell in row.cells))
        yield table


class _Answer(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "hr": _Rule,
        "table_open": _Table,
    }

    def __init__(self, markup: str, code_theme: str, is_wanted: Callable[[], bool]) -> None:
        super().__init__("", code_theme=code_theme, hyperlinks=False)
        self._is_wanted = is_wanted
        parser = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")
        self.parsed = parser.parse(visible(markup))
        _make_plain(self.parsed)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if not self._is_wanted():
                raise NotWanted
            yield part


def _make_plain(tokens: Iterable[Token]) -> None:
    """Clean the text, which entities can add to; keep line ends, and show images as their alt text."""
    for token in tokens:
        token.content = visible(token.content)
        for key, value in token.attrs.items():
            if isinstance(value, str):
                token.attrs[key] = visible(value).replace("\n", " ")
        if token.type == "softbreak":
            token.type = "hardbreak"
        elif token.type == "image":
            token.type, token.tag, token.children = "text", "", None
        if token.children:
            _make_plain(token.children)
