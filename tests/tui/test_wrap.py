import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from paragone_tui.transcript.text import Wrapped

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
