"""What a bench measures, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from paragone import InputError

MOST_RUNS = 10_000
"""Largest number of runs of an engine, since all runs are planned before the first run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTest:
    """One measurement: the prefill of a prompt, then the decoding of an answer."""

    prompt_tokens: int
    """Number of tokens to process after the cached tokens, including the tokens of the chat template."""
    depth: int
    """Number of tokens in the KV cache before the prefill."""
    tokens: int
    """Number of tokens to generate."""

    @property
    def total(self) -> int:
        """Number of tokens of prompt and answer together."""
        return self.depth + self.prompt_tokens + self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersTest(BenchTest):
    """One measurement of throughput: each user sends a request as soon as the user's last request is answered."""

    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchStep:
    """One run of one engine, or all runs of several users. A step without a test is a warm-up."""

    engine: int
    """Index of the engine."""
    test: BenchTest | None
    repetition: int


def bench_tests(
    prompt_tokens: Sequence[int], depths: Sequence[int], tokens: int, repeat: int
) -> tuple[BenchTest, ...]:
    """Return a test for each prompt length at each depth. Raises InputError for more than `MOST_RUNS` runs."""
    lengths, depths = tuple(dict.fromkeys(prompt_tokens)), tuple(dict.fromkeys(depths))
    if (runs := len(lengths) * len(depths) * repeat) > MOST_RUNS:
        raise InputError(
            f"The bench would have {runs:,} runs of each engine.",
            hint=f"{MOST_RUNS:,} are enough: repeat the tests less often, or name fewer lengths or depths.",
        )
    return tuple(
        BenchTest(prompt_tokens=length, depth=depth, tokens=tokens) for depth in depths for length in lengths
    )


def users_tests(
    prompt_tokens: Sequence[int], users: Sequence[int], tokens: int, repeat: int
) -> tuple[UsersTest, ...]:
    """Return a test for each number of users with each prompt length. Raises InputError for more than `MOST_RUNS` runs."""
    lengths, users = tuple(dict.fromkeys(prompt_tokens)), tuple(dict.fromkeys(users))
    if (runs := len(lengths) * sum(users) * (repeat + 1)) > MOST_RUNS:
        raise InputError(
            f"The users would send {runs:,} requests to each engine.",
            hint=f"{MOST_RUNS:,} are enough: repeat the requests less often, or name fewer users or lengths.",
        )
    return tuple(
        UsersTest(prompt_tokens=length, depth=0, tokens=tokens, users=number)
        for length in lengths
        for number in users
    )


def rotated(count: int, by: int) -> tuple[int, ...]:
    """Return 0 … count − 1, rotated so that `by` is first. In `count` rounds, each number is once at each position.

    With two engines A and B, the first round is A B, and the second round is B A.
    """
    return tuple((number + by) % count for number in range(count))


def steps_of(
    engines: int, tests: Sequence[BenchTest], repeat: int, *, users: Sequence[UsersTest] = (), swap: bool
) -> Iterator[BenchStep]:
    """Yield the steps in an order that is balanced between the engines. Steps with several users come last.

    If all engines are open, the engines alternate within each test, and take turns at each test of users. With `swap`, each
    opening is followed by a warm-up and one repetition of all tests, or by all tests of users, because opening takes longer
    than most tests.
    """
    yield from _steps_of_single_runs(engines, tests, repeat, swap=swap)
    if swap:
        order = [(test, engine) for engine in range(engines) for test in users]
    else:
        order = [(test, engine) for first, test in enumerate(users) for engine in rotated(engines, first)]
    for test, engine in order:
        yield BenchStep(engine=engine, test=test, repetition=0)


def _steps_of_single_runs(
    engines: int, tests: Sequence[BenchTest], repeat: int, *, swap: bool
) -> Iterator[BenchStep]:
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
