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
class UsersTest(BenchTest):
    """One measurement of throughput: users who each send a request as soon as they have the answer to the last one."""

    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchStep:
    """One run of one engine, or all runs of its users; the warm-up if there is no test."""

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


def users_tests(
    prompt_tokens: Sequence[int], users: Sequence[int], tokens: int, repeat: int
) -> tuple[UsersTest, ...]:
    """Return a test for each number of users with each prompt length. Raises InputError if their runs are too many."""
    lengths, users = tuple(dict.fromkeys(prompt_tokens)), tuple(dict.fromkeys(users))
    if (runs := len(lengths) * sum(users) * (repeat + 1)) > MOST_RUNS:
        raise InputError(
            f"The users would send {runs:,} requests to each engine.",
            hint=f"{MOST_RUNS:,} are enough: repeat them less often, or name fewer users or lengths.",
        )
    return tuple(
        UsersTest(prompt_tokens=length, depth=0, tokens=tokens, users=number)
        for length in lengths
        for number in users
    )


def rotated(count: int, by: int) -> tuple[int, ...]:
    """Return the numbers 0 … count − 1, rotated so that `by` is first. Over `count` rounds, each number has each place once.

    Two rounds of two engines are A B B A.
    """
    return tuple((number + by) % count for number in range(count))


def steps_of(
    engines: int, tests: Sequence[BenchTest], repeat: int, *, users: Sequence[UsersTest] = (), swap: bool
) -> Iterator[BenchStep]:
    """Yield the steps in their order, which is balanced between the engines. The steps with users at once come last.

    Engines that are all open alternate within each test, and between the tests of users. With `swap`, each opening is
    followed by a warm-up and one repetition of all tests, or by all tests of users, because opening takes longer than
    most tests.
    """
    yield from _steps_of_single_runs(engines, tests, repeat, swap=swap)
    if swap:
        order = [(test, engine) for engine in range(engines) for test in users]
    else:
        order = [(test, engine) for place, test in enumerate(users) for engine in rotated(engines, place)]
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
