"""Counts, sizes and shortened texts."""

import pytest

from paragone.texts import counted, shortened, size_text


def test_counts_have_their_nouns():
    assert [counted(count, "prompt") for count in (0, 1, 2000)] == ["0 prompts", "1 prompt", "2,000 prompts"]
    assert [counted(count, "vote is", "votes are") for count in (1, 2)] == ["1 vote is", "2 votes are"]


def test_texts_are_shortened_to_their_length():
    assert [shortened(text, 5) for text in ("", "12345", "123456", "123 56")] == [
        "",
        "12345",
        "1234…",
        "123…",
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, ""),
        (12_300, "12 kB"),
        (97_300_000, "97 MB"),
        (4_140_000_000, "4.1 GB"),
    ],
)
def test_sizes_have_decimal_units(size, text):
    assert size_text(size) == text
