"""Word differences between two texts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LIMIT = 5_000
"""Number of words that are compared after the common beginning of both texts: at most 30 ms of work."""
LONGEST = 100_000
"""Number of characters of a text that are compared. The rest of the text is never marked."""
_SHARE = 50
"""Growing texts are compared again after growing by 1/`_SHARE` of their words: the cost of a word is then independent
of their length."""

_IN_A_ROW = 4
"""Fewest words and signs in a row that are shown as common to two texts."""
_SHORT = 40
"""Number of words below which a text is too short for `shares_little`."""
_LITTLE = 0.5
"""Share of equal words below which two texts share little."""

# Scripts without spaces between words: each character is compared alone.
_ALONE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_MARKS = "\u0300-\u036f\u200c\u200d\ufe0f"
_WORD = re.compile(
    rf"[{_ALONE}]|(?:(?![{_ALONE}])[\w{_MARKS}])+|[!-/:-@\[-`{{-~]|(?:(?![\w\s])[^\x00-\x7f])+|\S"
)


class Span(NamedTuple):
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: int
    is_sign: bool

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def words(text: str, start: int = 0) -> list[Word]:
    return [
        Word(match[0], match.start(), not any(map(str.isalnum, match[0])))
        for match in _WORD.finditer(text, start)
    ]


def differing_spans(reference: str, text: str) -> tuple[Span, ...]:
    """Return the spans of `text` that differ from `reference`, with the white space between adjacent different words.
    The other words are a longest common subsequence of both texts; white space is not compared."""
    return GrowingDiff().update(reference, text) or ()


class GrowingDiff:
    def __init__(self) -> None:
        self._reference: list[Word] = []
        self._text: list[Word] = []
        self._seen = (0, 0, False, False)
        self._compared = 0
        self._common: list[tuple[int, int]] = []

    def update(
        self, reference: str, text: str, *, reference_grows: bool = False, text_grows: bool = False
    ) -> tuple[Span, ...] | None:
        """Return the spans of `text` that differ from `reference`, or None if both have hardly grown.

        Since the last call, both texts must have grown only at their ends. The spans exclude words that may still grow,
        and words at the end of `text` that a growing `reference` may still reach.
        """
        reference_grows = reference_grows or len(reference) > LONGEST  # the last word may be cut
        text_grows = text_grows or len(text) > LONGEST
        reference, text = reference[:LONGEST], text[:LONGEST]
        seen = len(reference), len(text), reference_grows, text_grows
        if seen == self._seen:
            return None
        _grow(self._reference, reference)
        _grow(self._text, text)
        count = len(self._reference) + len(self._text)
        if seen[2:] == self._seen[2:] and count < self._compared * (1 + 1 / _SHARE):
            return None
        self._seen, self._compared = seen, count
        return self._spans(reference_grows, text_grows)

    @property
    def share(self) -> float:
        """The share of equal words, from 0 to 1: twice the number of equal words, divided by the number of words in
        both texts."""
        both = [not word.is_sign for text in (self._reference, self._text) for word in text]
        equal = sum(not self._text[at].is_sign for _, at in self._common)
        return 2 * equal / sum(both) if any(both) else 1.0

    @property
    def shares_little(self) -> bool:
        """Whether both texts have at least `_SHORT` words, and the share of equal words is below `_LITTLE`."""
        long = all(sum(not word.is_sign for word in text) >= _SHORT for text in (self._reference, self._text))
        return long and self.share < _LITTLE

    @property
    def shared(self) -> tuple[Span, ...]:
        spans: list[Span] = []
        first = 0
        pairs = self._common
        for at in range(1, len(pairs) + 1):
            follows = at < len(pairs) and pairs[at] == (pairs[at - 1][0] + 1, pairs[at - 1][1] + 1)
            if not follows:
                if at - first >= _IN_A_ROW:
                    spans.append(Span(self._text[pairs[first][1]].start, self._text[pairs[at - 1][1]].end))
                first = at
        return tuple(spans)

    def _spans(self, reference_grows: bool, text_grows: bool) -> tuple[Span, ...]:
        reference_words, text_words = self._reference, self._text
        common = common_words([word.text for word in reference_words], [word.text for word in text_words])
        self._common = common
        same = {at for _, at in common}
        beginning = next((at for at, pair in enumerate(common) if pair != (at, at)), len(common))
        end = min(len(text_words) - text_grows, beginning + LIMIT)
        if reference_grows:
            their_last, our_last = common[-1] if common else (-1, -1)
            end = min(end, our_last + 1 + max(0, len(reference_words) - 2 - their_last))
        spans: list[Span] = []
        for at in range(end):
            word = text_words[at]
            if at in same:
                continue
            if spans and at - 1 not in same:
                spans[-1] = Span(spans[-1].start, word.end)
            else:
                spans.append(Span(word.start, word.end))
        return tuple(spans)


def _grow(found: list[Word], text: str) -> None:
    """Add the new words of a text that has grown since `found`; the last known word may have grown too."""
    found += words(text, found.pop().start if found else 0)


def common_length(first: Sequence[object], second: Sequence[object]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(first), len(second)))


def common_words(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
    """Return the index pairs of a longest common subsequence, in ascending order. After the common beginning, only
    `LIMIT` words of each sequence are compared."""
    start = common_length(first, second)
    beginning = [(at, at) for at in range(start)]
    rest = _subsequence(first[start : start + LIMIT], second[start : start + LIMIT])
    return beginning + [(start + one, start + other) for one, other in rest]


def _subsequence(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
    """Return the index pairs of a longest common subsequence.

    The bit-vector algorithm of Crochemore, Iliopoulos, Pinzon and Reid (2001) computes a row of the usual table with a
    few operations on an integer of `len(first)` bits: bit i of a row is 0 where the length of the common subsequence
    with the first i + 1 words is greater than with the first i.
    """
    places: dict[str, int] = {}
    for at, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << at
    full = (1 << len(first)) - 1
    row = full
    rows = [row]
    for word in second:
        here = places.get(word, 0)
        if here:
            both = row & here
            row = (row + both | row - both) & full
        rows.append(row)
    pairs: list[tuple[int, int]] = []
    one, other = len(first) - 1, len(second) - 1
    while one >= 0 and other >= 0:
        if rows[other + 1] >> one & 1:
            one -= 1
        elif not rows[other] >> one & 1:
            other -= 1
        else:
            pairs.append((one, other))
            one, other = one - 1, other - 1
    return pairs[::-1]
