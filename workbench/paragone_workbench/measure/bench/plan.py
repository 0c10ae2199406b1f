"""What a bench measures, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from paragone import InputError

MOST_RUNS = 10_000
"""Largest number of runs of an engine: the plan of all is made before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTest:
    """One measurement: the prefill of a prompt, then the decoding of an answer."""

    prompt_tokens: int
    """Tokens to process, after those in the cache; the chat template's are among them."""
    depth: int
    """Tokens that are in the KV cache before."""
    tokens: int
    """Tokens to generate."""

    @property
    def total(self) -> int:
        """The tokens of prompt and answer together."""
        return self.depth + self.prompt_tokens + self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchStep:
    """One run of one engine; the warm-up if there is no test."""

    engine: int
    """Index of the engine."""
    test: BenchTest | None
    repetition: int


def bench_tests(
    prompt_tokens: Sequence[int], depths: Sequence[int], tokens: int, repeat: int
) -> tuple[BenchTest, ...]:
    """Return a test for each prompt length at each depth. Raises InputError if their runs are too many."""
    lengths, depths = tuple(dict.fromkeys(prompt_tokens)), tuple(dict.fromkeys(depths))
    if (runs := len(lengths) * len(depths) * repeat) > MOST_RUNS:
        raise InputError(
            f"The bench would have {runs:,} runs of each engine.",
            hint=f"{MOST_RUNS:,} are enough: repeat them less often, or name fewer lengths or depths.",
        )
    return tuple(
        BenchTest(prompt_tokens=length, depth=depth, tokens=tokens) for depth in depths for length in lengths
    )


def rotated(count: int, by: int) -> tuple[int, ...]:
    """Return 0 … count − 1, beginning with `by`. Over `count` rounds, each number has each place once.

    Two rounds of two engines are A B B A.
    """
    return tuple((number + by) % count for number in range(count))


def steps_of(engines: int, tests: Sequence[BenchTest], repeat: int, *, swap: bool) -> Iterator[BenchStep]:
    """Yield the steps in their order, which is balanced between the engines.

    Engines that are all open alternate within each test. With `swap`, each opening is followed by a warm-up
    and one repetition of all tests, because opening takes longer than most tests.
    """
    if not swap:
        for engine in range(engines):
            yield BenchStep(engine=engine, test=None, repetition=0)
        for test in tests:
            for repetition in range(repeat):
                for engine in rotated(engines, repetition):
                    yield BenchStep(engine=engine, test=test, repetition=repetition)
        return
    opened = None
    for repetition in range(repeat):
        for engine in rotated(engines, repetition):
            if engine != opened:
                yield BenchStep(engine=engine, test=None, repetition=repetition)
                opened = engine
            for test in tests:
                yield BenchStep(engine=engine, test=test, repetition=repetition)
