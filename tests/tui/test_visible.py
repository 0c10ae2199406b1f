import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragone_tui.terminal.text import visible

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
def test_no_control_characters_are_left(text):
    shown = visible(text)
    categories = {unicodedata.category(character) for character in shown.replace("\n", "")}
    assert categories.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert visible(shown) == shown
    shown.encode()


@given(anything, anything)
def test_cleaning_pieces_gives_the_same_as_cleaning_the_whole(start, end):
    if not (start.endswith("\r") and end.startswith("\n")):
        assert visible(start) + visible(end) == visible(start + end)
