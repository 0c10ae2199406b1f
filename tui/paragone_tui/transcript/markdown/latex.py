"""LaTeX in Markdown: rules for the parser that keep the source of a formula, with its backslashes."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

_CLOSING = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
_BEGIN = re.compile(r"\\begin\{([a-zA-Z]+\*?)\}")
_DOLLARS = re.compile(r"\$(?![\s$])(?:\\.|[^\\$\n])*?(?<!\s)\$(?!\d)")
"""A formula between single dollars. Prices do not match: a digit follows the second dollar, or a blank is inside."""
_LONGEST = 200
"""Largest number of lines of a formula."""


def keep_formulas(parser: MarkdownIt) -> None:
    """Make the parser turn each formula into a token `math_inline` or `math_block`, with the delimiters in its content."""
    parser.block.ruler.before("fence", "math_block", _block)
    parser.inline.ruler.before("escape", "math_inline", _inline)
    parser.inline.add_terminator_char("$")


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
