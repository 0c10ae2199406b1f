"""A Markdown text as rows. While the text grows, each complete section is typeset only once."""

import io
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from paragone_tui.terminal.text import visible
from paragone_tui.transcript.markdown_elements import Elements, length_with_fixed_colours, theme
from paragone_tui.transcript.text import GUTTER, Layers, TranscriptStyles, marks_between, with_marks_of_source

_CLOSING = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
_BEGIN = re.compile(r"\\begin\{([a-zA-Z]+\*?)\}")
_DOLLARS = re.compile(r"\$(?![\s$])(?:\\.|[^\\$\n])*?(?<!\s)\$(?!\d)")
"""A formula between single dollars. Prices do not match: a digit follows the second dollar, or a space is inside."""
_LONGEST = 200
"""Largest number of lines of a formula."""


def _inline(state: StateInline, silent: bool) -> bool:
    source, start = state.src, state.pos
    if source[start] == "$" and (found := _DOLLARS.match(source, start, state.posMax)):
        end = found.end()
    elif closing := _CLOSING.get(source[start : start + 2]):
        end = source.find(closing, start + 2, state.posMax) + len(closing)
        if end < len(closing):
            end = start + 2  # a delimiter without its counterpart keeps its backslash
    else:
        return False
    if not silent:
        state.push("math_inline", "code", 0).content = source[start:end]
    state.pos = end
    return True


def _block(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """Parse a formula from a line that begins with a delimiter to the line with the closing delimiter, or to the end."""
    if state.is_code_block(first):
        return False
    line = _line(state, first)
    if begin := _BEGIN.match(line):
        opening, closing = begin[0], f"\\end{{{begin[1]}}}"
    elif line[:2] == "\\[" or line[:2] == "$$":
        opening, closing = line[:2], _CLOSING[line[:2]]
    else:
        return False
    rest, at, last = line[len(opening) :], first, min(end, first + _LONGEST)
    while closing not in rest:
        at += 1
        if at >= last:
            if last < end or (opening == "$$" and line.strip() != "$$"):
                return False
            break
        rest = _line(state, at)
    if at < last and rest.partition(closing)[2].strip(" .,;"):
        return False  # text follows on the same line, so the formula is part of a sentence
    if not silent:
        token = state.push("math_block", "math", 0)
        token.map = [first, min(at + 1, last)]
        token.content = state.getLines(first, min(at + 1, last), state.blkIndent, False).rstrip()
    state.line = min(at + 1, last)
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


_LISTS = ("bullet_list_open", "ordered_list_open")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkdownSection:
    line: int
    tokens: Sequence[Token]
    is_apart: bool
    """Whether a blank row separates the section from the section above."""
    number: int | None = None
    """The number of a list item, even in a list with bullets; None for other blocks."""


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")
    # Each formula becomes a token, with the delimiters in its content.
    parser.block.ruler.before("fence", "math_block", _block)
    parser.inline.ruler.before("escape", "math_inline", _inline)
    parser.inline.add_terminator_char("$")
    return parser


def sections_of(text: str, number: int | None = None) -> list[MarkdownSection]:
    """Return the sections of a text that is safe to print. `number` replaces the number of an item that begins the text."""
    tokens = _parser().parse(text)
    _make_plain(tokens)
    lines = text.split("\n")
    sections: list[MarkdownSection] = []
    for block in _blocks(tokens):
        if block[0].type in _LISTS:
            sections += _items(block, lines, None if sections else number)
        else:
            sections.append(MarkdownSection(line=_section_line(block), tokens=block, is_apart=True))
    return sections


def _section_line(block: Sequence[Token]) -> int:
    return block[0].map[0] if block[0].map else 0


def _blocks(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    block: list[Token] = []
    depth = 0
    for token in tokens:
        block.append(token)
        depth += token.nesting
        if not depth:
            yield block
            block = []


def _items(block: list[Token], lines: Sequence[str], first: int | None) -> Iterator[MarkdownSection]:
    """Yield each list item as a list of its own, apart from the item above if a blank line separates them in the text."""
    if first is None:
        first = int(block[0].attrs.get("start", 1))
    for at, item in enumerate(_blocks(block[1:-1])):
        opening = block[0].copy(attrs={"start": first + at})
        line = _section_line(item)
        is_apart = not at or not lines[line - 1].strip()
        yield MarkdownSection(
            line=line, tokens=[opening, *item, block[-1]], is_apart=is_apart, number=first + at
        )


def _make_plain(tokens: Iterable[Token]) -> None:
    """Make the tokens' text safe to print, since entities can add characters; keep line ends; show images as alt text."""
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


_MARKER = re.compile(r"[ >]*(?:[#*+\-_~`=|:$>]+|\d{1,3}[.)]?|\\\[?|\\begin\{?[a-z*]*)? *")
"""A last line that may become a heading, a list item, a rule, a fence, a table or a formula."""
_LONGEST_MARKER = 40
"""Longest line, in characters, that may be a marker."""
_RULE = re.compile(r"[ |:\-]*")
"""The line below the head of a table, or the beginning of this line."""
_FENCE = re.compile(r"^[ ]*(```+|~~~+)", re.MULTILINE)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_BREAK = re.compile(r"\n[ ]*\n|\n[ ]*(?=[-*+] |\d{1,3}[.)] |#|\|)")
"""The beginning of a paragraph or block, at which any emphasis ends."""
_EMPHASIS = re.compile(r"(?<![\w\\*])(\*\*|\*|~~)(?=[^\s*~])|(?<=[^\s*~\\])(\*\*|\*|~~)(?!\*)")


def presentable(text: str) -> str:
    """Remove an unfinished marker from the end of a growing text, and close its open emphasis and code."""
    if _fence(text):
        line = text.rpartition("\n")[2]
        return text[: -len(line)] if line and not line.strip(" `~") else text
    head = _head_of_table(text)
    if head:
        return text[:-head]
    line = text.rpartition("\n")[2]
    if line and len(line) <= _LONGEST_MARKER and _MARKER.fullmatch(line):
        return text[: -len(line)].removesuffix("\n")
    return _closed(text.rstrip(" *~`_"))


def _fence(text: str) -> bool:
    opened = ""
    for fence in _FENCE.finditer(text):
        if not opened:
            opened = fence[1]
        elif fence[1].startswith(opened):
            opened = ""
    return bool(opened)


def _head_of_table(text: str) -> int:
    """Return how many characters at the end of the text may become the head of a table, perhaps 0."""
    lines = text.removesuffix("\n").split("\n")[-3:]
    rows = [line.startswith("|") for line in map(str.lstrip, lines)]
    if not rows[-1]:
        return 0
    if len(rows) == 1 or not rows[-2]:
        return len(lines[-1]) + text.endswith("\n")
    is_head = len(rows) == 2 or not rows[-3]
    if is_head and not text.endswith("\n") and _RULE.fullmatch(lines[-1]):
        return len(lines[-1]) + 1 + len(lines[-2])
    return 0


def _closed(text: str) -> str:
    breaks = [found.end() for found in _BREAK.finditer(text)]
    start = breaks[-1] if breaks else 0
    last = _CODE.sub(lambda code: "x" * len(code[0]), text[start:])
    ticks = re.search(r"`+", last)
    if ticks is None:
        return text.rstrip() + _closing(last)
    emphasis = _closing(last[: ticks.start()])
    if not last[ticks.end() :].strip():
        return text[: start + ticks.start()].rstrip() + emphasis  # no code has arrived yet
    return text.rstrip() + ticks[0] + emphasis


def _closing(text: str) -> str:
    opened: list[str] = []
    for found in _EMPHASIS.finditer(text):
        opening, closing = found.groups()
        if opening:
            opened.append(opening)
        elif closing in opened:
            del opened[opened.index(closing) :]
    return "".join(reversed(opened))


_NARROWEST = 8
"""Smallest width of the rows in cells, without the gutter."""
_OPENING = re.compile(r"\s*^((?:```|~~~)[^\n]*\n)", re.MULTILINE)
"""The line that opens a block of code, with blank lines above."""


@dataclass(slots=True)
class _Typeset:
    """A typeset section, from character `start` of the whole text up to `end`."""

    start: int
    end: int
    source: str
    rows: Sequence[Strip]
    layers: Layers = ()
    marked: Sequence[Strip] = ()
    """The rows with the marks `layers`."""

    def strips(self, layers: Layers, palette: TranscriptStyles) -> Sequence[Strip]:
        """Return the rows with those marks of the whole text that are in this section."""
        ours = marks_between(layers, self.start, self.end)
        if not any(ours):
            return self.rows
        if ours != self.layers:
            self.layers = ours
            self.marked = with_marks_of_source(ours, self.source, self.rows, GUTTER, palette)
        return self.marked


class TypesetText:
    """Markdown as rows of at most `width` cells, gutter included. HTML and console markup stay text; links are not
    hyperlinks."""

    def __init__(self, width: int, palette: TranscriptStyles) -> None:
        self.width = width
        self.palette = palette
        self.is_complete = False
        """Whether the text has ended, and its rows equal the rows of the same text typeset as a whole."""
        self.rows: list[Strip] = []
        self.rest = ""
        """The end of the text, whose look further text can still change."""
        self._console = _console(width, palette)
        self._options = self._console.options
        """Rich reads the console's size and encoding from the environment for each text without options."""
        self._start = 0
        """Position of the rest in the text, in characters."""
        self._fence = ""
        """The first line of a block of code that continues in the rest; empty if there is no such block."""
        self._is_apart = False
        """Whether a blank row separates the rest from the sections before it."""
        self._number: int | None = None
        """The number of the list item that begins the rest; None if the rest begins with no list item."""
        self._defines = False
        """Whether the text may define the targets of links in earlier sections."""
        self._sections: list[_Typeset] = []
        self._kept = 0
        self._tops: list[int] = []
        self._drawn: list[tuple[Sequence[Token], Sequence[Strip]]] = []
        """The rest's sections at the last typesetting, with their rows. New text mostly changes only the last section."""

    def append(self, text: str) -> None:
        self.rest += text
        self._defines = self._defines or "]:" in text

    def typeset(self, *, ended: bool, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Typeset the appended text, up to the first section before which `is_wanted` returns False."""
        self._drop_rest()
        text = self._fence + self.rest
        sections = sections_of(text if ended else presentable(text), self._number)
        starts = self._starts(text, sections)
        before, self._drawn = self._drawn, []
        for number, section in enumerate(sections):
            if not is_wanted():
                return
            tokens, rows = before[number] if number < len(before) else ((), ())
            if tokens != section.tokens:
                rows = self._rendered(section.tokens)
            self._drawn.append((section.tokens, rows))
            gap = section.is_apart if number else self._is_apart
            self._add(rows, *starts[number : number + 2], gap=gap)
        self.is_complete = ended and not (self._kept and self._defines)
        if not ended:
            self._keep(sections, starts)

    def strip(self, row: int, layers: Layers) -> Strip:
        if not any(layers):
            return self.rows[row]
        at = bisect_right(self._tops, row) - 1
        return self._sections[at].strips(layers, self.palette)[row - self._tops[at]]

    def _drop_rest(self) -> None:
        if self._kept < len(self._sections):
            del self.rows[self._tops[self._kept] :]
            del self._sections[self._kept :], self._tops[self._kept :]

    def _starts(self, text: str, sections: Sequence[MarkdownSection]) -> list[int]:
        ends = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
        starts = [max(0, ends[section.line] - len(self._fence)) for section in sections]
        return [0, *starts[1:], len(self.rest)] if starts else []

    def _add(self, rows: Sequence[Strip], start: int, end: int, *, gap: bool) -> None:
        if gap and rows:
            rows = [Strip([]), *rows]
        source = self.rest[start:end]
        self._sections.append(_Typeset(self._start + start, self._start + end, source, rows))
        self._tops.append(len(self.rows))
        self.rows += rows

    def _keep(self, sections: Sequence[MarkdownSection], starts: Sequence[int]) -> None:
        last = len(sections) - 1
        if last > 0 and sections[last].line >= (self._fence + self.rest).count("\n"):
            last -= 1  # a line that is not complete may turn out to belong to the previous section
        if last > 0:
            self._kept += last
            self._fence = ""
            self._cut(starts[last])
            self._is_apart, self._number = sections[last].is_apart, sections[last].number
        elif last == 0 and sections[0].tokens[0].type == "fence":
            self._keep_code(sections[0].tokens[0])

    def _keep_code(self, fence: Token) -> None:
        """Keep the part of a long block of code that looks the same whatever code follows."""
        opening = _OPENING.match(self.rest) if not self._fence else None
        begin = opening.end() if opening else 0
        if not self._fence and not begin:
            return
        end = length_with_fixed_colours(self.rest[begin:], fence.info.partition(" ")[0])
        if not end:
            return
        self._drop_rest()
        token = fence.copy(content=self.rest[begin : begin + end])
        self._add(self._rendered([token]), 0, begin + end, gap=self._is_apart)
        self._kept += 1
        self._fence = opening[1] if opening else self._fence
        self._cut(begin + end)
        self._is_apart = False
        self.typeset(ended=False)

    def _cut(self, end: int) -> None:
        self._start += end
        self.rest = self.rest[end:]

    def _rendered(self, tokens: Sequence[Token]) -> list[Strip]:
        base = self.palette["answer"]
        gutter = Segment(" " * GUTTER, base)
        lines = self._console.render_lines(Elements(tokens, self.palette), self._options, pad=False)
        strips = [Strip(_trimmed([gutter, *_plain(line, base)], base)) for line in lines]
        while strips and not strips[-1]:
            strips.pop()
        while strips and not strips[0]:
            strips.pop(0)
        return strips


def typeset(
    text: str, width: int, palette: TranscriptStyles, is_wanted: Callable[[], bool] = lambda: True
) -> TypesetText:
    whole = TypesetText(width, palette)
    whole.append(visible(text))
    whole.typeset(ended=True, is_wanted=is_wanted)
    return whole


def _console(width: int, palette: TranscriptStyles) -> Console:
    return Console(
        file=io.StringIO(),
        width=max(width - GUTTER, _NARROWEST),
        color_system="truecolor",
        force_terminal=True,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        theme=theme(palette),
    )


def _plain(line: Iterable[Segment], base: Style) -> Iterable[Segment]:
    for text, style, control in line:
        if not control and text:
            yield Segment(text, base + style if style else base)


def _trimmed(line: list[Segment], base: Style) -> list[Segment]:
    while line and not line[-1].text.strip(" ") and line[-1].style and line[-1].style.bgcolor == base.bgcolor:
        line.pop()
    return list(Segment.simplify(line))
