"""Texts on the terminal: visible, in cells, wrapped into rows, and names in little room."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.segment import Segment
from textual.strip import Strip

from paragone_tui.terminal.cells import cells_of, shortened, shortest_name_width
from paragone_tui.terminal.text import visible
from paragone_tui.transcript.text import Wrapped

anything = st.text(st.characters(codec=None), max_size=80)  # including lone surrogates


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J", "␛[2J"),
        ("\x1b]8;;http://evil\x1b\\x", "␛]8;;http://evil␛\\x"),
        ("\x9b31m", "␛[31m"),
        ("a\x08b\x7fc\x00", "a␈b␡c␀"),
        ("back\rhome", "back␍home"),
        ("line\r\nline\u2028line\u2029line", "line\nline\nline\nline"),
        ("\tx", "    x"),
        ("user\u202egnp.exe", "user␦gnp.exe"),
        ("\u2066in\u2069\u200b\u2060\ufeff\u00ad", "␦in␦␦␦␦␦"),
        ("\U000e0041\U000e007f", "␦␦"),
        ("\ud800", "�"),
    ],
)
def test_control_characters_are_replaced_by_symbols(hostile, shown):
    assert visible(hostile) == shown


@pytest.mark.parametrize(
    "text", ["two\nlines naïve e\u0301", "今天天气 👨‍👩‍👧 🇩🇪 👍🏽 ☁️ 1️⃣", "नमस्ते می\u200cخواهم", "[red]x[/]"]
)
def test_ordinary_text_is_unchanged(text):
    assert visible(text) == text


@given(anything)
def test_no_control_characters_remain(text):
    shown = visible(text)
    categories = {unicodedata.category(character) for character in shown.replace("\n", "")}
    assert categories.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert visible(shown) == shown
    shown.encode()


@given(anything, anything)
def test_cleaning_pieces_gives_the_same_as_cleaning_the_whole(start, end):
    if not (start.endswith("\r") and end.startswith("\n")):
        assert visible(start) + visible(end) == visible(start + end)


CONTROL = ["\x1b[31m", "\n", "\x7f", "\x9b31m", "\u202e", "\ud800"]


@pytest.mark.parametrize("sign", CONTROL, ids=ascii)
@pytest.mark.parametrize("beside", ["ab", "äb"])
def test_no_cell_contains_a_control_character(beside, sign):
    strip = Strip([Segment(f"{beside[0]}{sign}{beside[1]}")])
    cells = cells_of(strip, ColorSystem.TRUECOLOR)
    written = "".join(text for text, _ in cells)
    assert len(cells) == strip.cell_length
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in written)
    assert not set(written) & set("\u202e\u2066\u2028\ud800")
    assert (written[0], written[-1]) == tuple(beside)


def test_combining_and_joining_characters_are_kept():
    text = "a\u0301 \N{WOMAN}\u200d\N{PERSONAL COMPUTER} \u00a0"
    written = "".join(cell for cell, _ in cells_of(Strip([Segment(text)]), ColorSystem.TRUECOLOR))
    assert written == text


texts = st.lists(
    st.one_of(
        st.sampled_from(list("abcdef   \n.,")),
        st.sampled_from(list("漢字かな、。한국👍🇩🇪é")),
        st.sampled_from(["\u0301", "\u200d", "\ufe0f", "👩", "\U0001f3fd", "☁", "क", "ा", "\u3000"]),
        st.sampled_from([" " * 40, "\u0301" * 40, "\u200d" * 40]),
    ),
    max_size=120,
).map("".join)
widths = st.integers(2, 24)


def rows(text, width):
    return [row.rstrip() for row in Wrapped(width, text).rows]


@pytest.mark.parametrize(
    ("text", "width", "wanted"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("a unbreakable", 4, ["a", "unbr", "eaka", "ble"]),
        ("  indented text", 10, ["  indented", "text"]),
        ("a\n\nb", 9, ["a", "", "b"]),
        ("今天天，气很好", 6, ["今天", "天，气", "很好"]),
        ("mixed 今天 words", 8, ["mixed 今", "天 words"]),
        ("", 5, []),
    ],
)
def test_rows_end_between_words_or_beside_wide_characters(text, width, wanted):
    assert rows(text, width) == wanted


@given(texts, widths)
def test_no_text_is_lost_and_no_row_is_too_wide(text, width):
    wrapped = Wrapped(width, text)
    assert "".join(wrapped.rows) == text
    # Skip rows that begin with a joiner, which is invalid; rich measures their width inconsistently.
    assert all(cell_len(row.rstrip()) <= width for row in wrapped.rows if not row.startswith("\u200d"))
    assert all(row.endswith("\n") or not row.count("\n") for row in wrapped.rows)


@pytest.mark.parametrize("piece", [" ", "    ", "\u0301", "\u200d", "today"])
def test_a_row_ends_even_if_no_word_does(piece):
    """Otherwise all of the row would be broken anew for each piece of text."""
    grown = Wrapped(20)
    for _ in range(1000):
        grown.append(piece)
    assert "".join(grown.rows) == piece * 1000
    assert max(map(len, grown.rows)) <= grown.longest


@given(st.lists(texts, max_size=12), widths)
@example(["今", "\u0301", "天"], 2)
def test_appending_gives_the_same_rows_as_wrapping_the_whole(pieces, width):
    grown = Wrapped(width)
    before: list[str] = []
    for piece in pieces:
        first = grown.append(piece)
        assert grown.rows[:first] == before[:first]
        before = list(grown.rows)
    assert grown.rows == Wrapped(width, "".join(pieces)).rows


Q4, Q3 = "SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct.Q3_K_M"


@pytest.mark.parametrize(
    ("name", "others", "cells", "wanted"),
    [
        (Q4, [Q3], 26, Q4),
        (Q4, [Q3], 12, "SmolLM2…Q4_1"),
        (Q3, [Q4], 6, "Q3_K_M"),
        (Q3, [Q4], 4, "Q3_…"),
        (f"{Q4}-2", [Q4], 14, "SmolLM2…Q4_1-2"),
        ("Q4_1-SmolLM2-Instruct", ["Q5_1-SmolLM2-Instruct"], 12, "Q4_1-SmolLM…"),
        ("small.Q4_1 (ollama)", ["small.Q5_1 (ollama)"], 14, "small.Q4_1…"),
        (Q4, [], 12, "SmolLM2-135…"),
        ("今天天气-一", ["今天天气-二"], 7, "今天…一"),
    ],
)
def test_a_shortened_name_keeps_its_distinctive_part(name, others, cells, wanted):
    assert shortened(name, others, cells) == wanted


names = st.text("ab1-._ 今", max_size=20)


@given(names, st.lists(names, max_size=3), st.integers(0, 30))
def test_a_shortened_name_fits(name, others, cells):
    assert cell_len(shortened(name, others, cells)) <= cells
    assert shortened(name, others, cell_len(name)) == name
    assert 0 <= shortest_name_width(name, others) <= cell_len(name)


@given(st.text("ab", min_size=1, max_size=12), st.sampled_from("-."), st.integers(6, 20))
def test_two_quantizations_are_never_shown_alike(common, separator, cells):
    first, second = f"{common}{separator}Q4_1", f"{common}{separator}Q5_0"
    assert shortened(first, [second], cells).endswith("Q4_1")
    assert shortened(second, [first], cells).endswith("Q5_0")
