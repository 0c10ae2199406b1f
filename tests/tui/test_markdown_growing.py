"""Answers that are typeset while they grow: the same rows as the whole text, each section once, and no markup that flashes."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.tui.test_markdown import MARKS, PALETTE, SPACES

from paragone_tui.terminal.text import visible
from paragone_tui.transcript.markdown import TypesetText, typeset

WIDTH = 40
PIECES = [*MARKS, *SPACES, "$", "$$", "\\[", "\\]", "\\begin{a}", "\\end{a}"]
ANSWER = """\
# Why the sky is blue

The **short** answer is *scattering*, with `n = 4`.

1. Red has 700 nm,
   which is **long**
2. Blue has 450 nm

   - and is scattered

| colour | length |
| :-- | --: |
| red | 700 |

```python
def intensity(wavelength):
    return 1 / wavelength  # Rayleigh
```

> It depends on
> the wavelength.

\\[
I \\propto \\frac{1}{\\lambda^4}
\\]
In short: $a_1 * b_1 * c$ and \\(x\\).
"""
CODE = "```python\n" + 'def f(a):\n    """Return.\n\n    More."""\n    return a\n\n' * 30 + "```\nDone."


def growing(pieces, width=WIDTH):
    """Yield a text that grows, after each piece."""
    text = TypesetText(width, PALETTE)
    for piece in pieces:
        text.append(piece)
        text.typeset(ended=False)
        yield text


def grown(pieces, width=WIDTH):
    *_, text = growing([*pieces, ""], width)
    text.typeset(ended=True)
    return text


def in_pieces(text, size):
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize(
    ("text", "size"), [(ANSWER, 3), (ANSWER, 50), (CODE, 60)], ids=["slow", "fast", "code"]
)
def test_a_grown_text_looks_like_the_same_text_typeset_whole(text, size):
    whole = grown(in_pieces(text, size))
    assert whole.rows == typeset(text, WIDTH, PALETTE).rows
    assert whole.is_complete


@settings(max_examples=25)
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.integers(8, 50))
@example(["- ", "word", "\n", "*", "*", "word"], 20)
@example(["1.", " ", "word", "\n\n", "1.", "word", "word"], 20)
@example(["`", "**", "`", "**", "\n\n", "```", "\n", "word"], 20)
def test_any_growing_text_is_typeset(pieces, width):
    pieces = [*map(visible, pieces)]
    whole = typeset("".join(pieces), width, PALETTE)
    text = grown(pieces, width)
    if text.is_complete:  # else, targets of links came after the links
        assert text.rows == whole.rows


def test_no_markup_flashes_and_no_row_jumps():
    """What is above the last section stays. Signs of markup are not shown before it is known what they are."""
    before: list[str] = []
    for text in growing("Use `\na` or **b\nc**.\n\n" + ANSWER.partition("\\[")[0]):
        rows = [strip.text.rstrip() for strip in text.rows]
        assert not re.search(r"\*\*|^ *#|`|\|", "\n".join(rows))
        table = next((at for at, row in enumerate(before) if "colour" in row), len(before))
        same = max(0, min(len(before) - 2, table))
        assert rows[:same] == before[:same]
        before = rows


def test_a_section_is_typeset_only_once_and_long_code_in_parts(monkeypatch):
    work: list[int] = []
    rendered = TypesetText._rendered

    def render(text, tokens):
        work.append(sum(len(token.content) for token in tokens))
        return rendered(text, tokens)

    monkeypatch.setattr(TypesetText, "_rendered", render)
    grown(in_pieces("A short paragraph of some words.\n\n" * 40, 20))
    assert len(work) < 40 * 3
    work.clear()
    grown(in_pieces(CODE, 20))
    assert max(work) < len(CODE) / 2


def test_links_with_later_targets_are_typeset_again():
    text = "See [the page].\n\nMore.\n\n[the page]: http://b.c"
    whole = grown(in_pieces(text, 4))
    assert not whole.is_complete
    assert "http://b.c" in typeset(text, WIDTH, PALETTE).rows[0].text


@pytest.mark.parametrize(
    "formula",
    [
        "\\(\\frac{a}{b}\\)",
        "$\\alpha_1 * \\beta_1 * c$",
        "\\[\na &= b \\\\\n- c\n\\]",
        "\\begin{align}\nx &= 1 \\\\\n+ y\n\\end{align}",
        "\\( left open",
    ],
)
def test_latex_keeps_its_backslashes(formula):
    rows = [strip.text for strip in typeset(f"Before {formula}\n", 60, PALETTE).rows] + [
        strip.text for strip in typeset(f"Before\n\n{formula}\n\nafter", 60, PALETTE).rows
    ]
    for line in formula.splitlines():
        assert sum(line in row for row in rows) == 2 or ("\n" in formula and any(line in row for row in rows))


@pytest.mark.parametrize("text", ["It costs $5 or $6 *now*.", "`$x` is $HOME and $PATH, *see*.", "a \\*b\\*"])
def test_dollars_and_escapes_outside_formulas_stay_text(text):
    (row,) = typeset(text, 60, PALETTE).rows
    assert row.text.strip() == re.sub(r"[`\\]|(?<!\\)\*", "", text) or (
        "b" in text and row.text.strip() == "a *b*"
    )


def test_a_broken_line_of_code_continues_at_its_indentation():
    code = "def f():\n        return first_argument + second_argument + third_argument\n"
    rows = [strip.text.rstrip() for strip in typeset(f"```python\n{code}```\n", 40, PALETTE).rows]
    assert [row.removeprefix("    ") for row in rows] == [
        "def f():",
        "        return first_argument +",
        "          second_argument +",
        "          third_argument",
    ]


def test_code_has_an_even_background():
    rows = typeset("```python\ndef f():\n\n    return 'x'\n```\n", WIDTH, PALETTE).rows
    ground = PALETTE["code-block"].bgcolor
    assert [sum(len(s.text) for s in row if s.style.bgcolor == ground) for row in rows] == [WIDTH - 2] * 3
    looks = {s.text.strip(): s.style for row in rows for s in row}
    assert (looks["def"], looks["'x'"]) == (PALETTE["code-keyword"], PALETTE["code-string"])
