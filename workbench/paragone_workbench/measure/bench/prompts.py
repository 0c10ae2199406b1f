"""Prompts of natural text whose rendered length is a given number of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from paragone import Json, Message, OpenEngine, TokenizeRequest
from paragone_workbench.measure.bench.plan import BenchTest, UsersTest
from paragone_workbench.measure.sample import sample_text

_FILLERS = ("a", "the", ".", "x", "1")
"""Words that are one token in most vocabularies."""

_FIRST, _LAST = 10_000, 99_999
"""The range of the numbers with which the prompts of users begin: all have five digits, so that prompts are equally long."""

_Words: TypeAlias = list[str]
_Length: TypeAlias = Callable[[_Words], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPrompt:
    """The messages of one test."""

    text: str
    start: str
    """The part of the text that fills the cache up to the test's depth; empty for depth 0."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The measured request."""
        return (Message(role="user", text=self.text),)

    def numbered(self, number: int) -> tuple[Message, ...]:
        """Return the request with this number, for a `UsersTest`.

        The prompt begins with the number, so that no server has cached the prompt for another request.
        """
        _, _, rest = self.text.partition(" ")
        return (Message(role="user", text=f"{_FIRST + number % (_LAST - _FIRST + 1)} {rest}"),)

    @property
    def filling(self) -> tuple[Message, ...]:
        """The request that fills the cache before the measured request; empty for depth 0."""
        return (Message(role="user", text=self.start),) if self.start else ()


class PromptFitter:
    """Makes the prompts for one engine, and keeps the prompts whose length is exact.

    Without a tokenizer, the length is a guess that `learn` improves.
    """

    def __init__(self) -> None:
        self._words = sample_text().split()
        self._tokens_per_word = 1.35
        self._made: dict[BenchTest, BenchPrompt] = {}

    async def fit(
        self, test: BenchTest, engine: OpenEngine | None, sampling: Mapping[str, Json]
    ) -> BenchPrompt:
        """Return the prompt of a test. `engine` is None for an engine that cannot tokenize. Raises ParagoneError."""
        if engine is None:
            return self._guess(test)  # not kept: a later guess is better
        if test not in self._made:
            self._made[test] = await self._fit(test, engine, sampling)
        return self._made[test]

    def learn(self, prompt: BenchPrompt, counted: int) -> None:
        """Improve later guesses by the number of tokens that the engine counted for a prompt."""
        self._tokens_per_word = counted / max(1, len(prompt.text.split()))

    def _guess(self, test: BenchTest) -> BenchPrompt:
        start = max(0, round(test.depth / self._tokens_per_word))
        count = max(1, round(test.prompt_tokens / self._tokens_per_word))
        text = [*self._beginning(test), *self._text(start + count)]
        return BenchPrompt(text=" ".join(text), start=" ".join(text[:start]))

    async def _fit(self, test: BenchTest, engine: OpenEngine, sampling: Mapping[str, Json]) -> BenchPrompt:
        async def ids(words: _Words) -> Sequence[int]:
            messages = (Message(role="user", text=" ".join(words)),)
            return (await engine.tokenize(TokenizeRequest(messages=messages, sampling=sampling))).ids

        async def length(words: _Words) -> int:
            return len(await ids(words))

        async def shared(words: _Words) -> int:
            """Return how many tokens at the start stay the same if another word follows the prompt."""
            pairs = zip(await ids(words), await ids([*words, "and"]), strict=False)
            return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

        start = await self._words_of(test.depth, shared, []) if test.depth else []
        begin = [*start, "and"] if start else self._beginning(test)
        text = await self._words_of(test.depth + test.prompt_tokens, length, begin)
        return BenchPrompt(text=" ".join(text), start=" ".join(start))

    async def _words_of(self, wanted: int, length: _Length, start: _Words) -> _Words:
        """Return words that begin with `start` and have the wanted length, or else the nearest smaller length."""
        low, high = 1, max(2, wanted)  # a word has at least one token
        while high - low > 1:
            middle = (low + high) // 2
            if await length([*start, *self._text(middle)]) <= wanted:
                low = middle
            else:
                high = middle
        words = [*start, *self._text(low)]
        missing = wanted - await length(words)
        for filler in _FILLERS if missing > 0 else ():
            for count in range(1, missing + 1):
                filled = [*words, *[filler] * count]
                if await length(filled) == wanted:
                    return filled
        return words

    def _beginning(self, test: BenchTest) -> _Words:
        return [str(_FIRST)] if isinstance(test, UsersTest) else []

    def _text(self, count: int) -> _Words:
        return list(itertools.islice(itertools.cycle(self._words), count))
