"""Word differences: what is marked is what differs."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paragone_workbench.compare import diff
from paragone_workbench.compare.diff import GrowingDiff, differing_spans, words

texts = st.lists(
    st.sampled_from(["the", "sea", "is", "blue", ",", "  ", "\n", "今天", "don't", "é"]), max_size=14
).map(" ".join)


def marked(reference, text):
    """The text with its differing spans in brackets."""
    for start, end in reversed(differing_spans(reference, text)):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


def longest(first, second):
    """Length of the longest common subsequence, by the usual table."""
    row = [0] * (len(second) + 1)
    for one in first:
        before, row = row, [0]
        for at, other in enumerate(second):
            row.append(before[at] + 1 if one == other else max(before[at + 1], row[at]))
    return row[-1]


@pytest.mark.parametrize(
    ("reference", "text", "wanted"),
    [
        ("The sky is blue.", "The sky is blue.", "The sky is blue."),
        ("The sky is blue.", "The sky is dark and grey.", "The sky is [dark and grey]."),
        ("red, green", "red. green", "red[.] green"),
        ("one two", "one\n\n   two", "one\n\n   two"),
        ("天气很好", "天气不好", "天气[不]好"),
        ("", "all new", "[all new]"),
        ("**bold** x", "bold x", "bold x"),
    ],
)
def test_differing_words_are_marked(reference, text, wanted):
    assert marked(reference, text) == wanted


@given(texts, texts)
def test_unmarked_words_are_a_longest_common_subsequence(reference, text):
    spans = differing_spans(reference, text)
    theirs = [word.text for word in words(reference)]
    rest = [word.text for word in words(text) if not any(a <= word.start < b for a, b in spans)]
    assert len(rest) == longest(theirs, [word.text for word in words(text)])
    found = iter(theirs)
    assert all(word in found for word in rest)


@given(st.text())
def test_the_compared_spans_cover_every_character(text):
    found = words(text)
    assert "".join(word.text for word in found) == re.sub(r"\s", "", text)
    assert all(text[word.start : word.end] == word.text for word in found)


@settings(max_examples=50)
@given(texts, texts, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6))
def test_comparing_growing_texts_ends_with_the_spans_of_the_whole_texts(reference, text, steps):
    comparison = GrowingDiff()
    for one, other in sorted(steps):
        comparison.update(reference[:one], text[:other], reference_grows=True, text_grows=True)
    seen = comparison.update(reference, text)
    assert seen in (differing_spans(reference, text), None)
    if text or reference:
        assert seen is not None


@given(texts, st.integers(0, 60), st.integers(0, 60))
def test_words_not_yet_received_are_not_marked(text, one, other):
    """Two answers that will be equal, at different places in them."""
    spans = GrowingDiff().update(text[:one], text[:other], reference_grows=True, text_grows=True)
    assert not spans


def test_long_texts_are_not_compared_again_for_every_word():
    comparison = GrowingDiff()
    text = "word " * 1000
    assert comparison.update(text, text, text_grows=True) == ()
    assert comparison.update(text, text + "more ", text_grows=True) is None
    assert comparison.update(text, text + "more " * 50, text_grows=True) is not None
    assert comparison.update(text, text + "more " * 50) is not None


def test_the_work_of_a_comparison_is_bounded(monkeypatch):
    monkeypatch.setattr(diff, "LIMIT", 3)
    assert marked("a b 1 2 3 4", "a b 5 6 7 8") == "a b [5 6 7] 8"


def test_only_the_beginning_of_a_very_long_text_is_compared(monkeypatch):
    monkeypatch.setattr(diff, "LONGEST", 20)
    compared = GrowingDiff()
    assert compared.update("one two three four five six", "one 222 three four 555 six") == ((4, 7),)
    assert len(compared._text) < 6
    assert compared.update("one two three four five six seven", "one 222 three four 555 six 777") is None


def compared(reference, text):
    diff = GrowingDiff()
    diff.update(reference, text)
    return diff


def test_the_share_of_equal_words_is_computed():
    assert compared("The sky is blue.", "The sky looks blue!").share == 0.75
    assert compared("", "").share == 1.0
    assert compared("...", "!").share == 1.0, "signs are no words"


def test_texts_that_differ_a_lot_have_their_common_words_marked():
    first = "Blue light is scattered more by small molecules, so from the ground " + "one " * 40
    second = "We say that air has small molecules, so from the top " + "two " * 40
    diff = compared(first, second)
    assert diff.shares_little
    assert [second[start:end] for start, end in diff.shared] == ["small molecules, so from the"]
    assert not compared("one " * 39, "two " * 80).shares_little, "too short to say so"
    assert not compared("one " * 60, "one " * 45 + "two " * 15).shares_little
