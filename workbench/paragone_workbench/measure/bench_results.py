"""What a bench measures, and its results: runs by test, figures, throughput with several users, and remarks."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from paragone import InputError, Json, ParagoneError
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.runs.metrics import RunMetrics, percentile

MOST_RUNS = 10_000
"""Largest number of runs of an engine, since all runs are planned before the first run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTest:
    """Single runs, or, with `users`, a throughput: each user sends a request as soon as the last one is answered."""

    prompt_tokens: int
    """Number of tokens to process after the cached tokens, including the tokens of the chat template."""
    depth: int = 0
    tokens: int
    users: int = 0

    @property
    def total(self) -> int:
        return self.depth + self.prompt_tokens + self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchStep:
    """One run of one engine, or all runs of several users. A step without a test is a warm-up."""

    engine: int
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
) -> tuple[BenchTest, ...]:
    """Return a test for each number of users with each prompt length. Raises InputError for more than `MOST_RUNS` runs."""
    lengths, users = tuple(dict.fromkeys(prompt_tokens)), tuple(dict.fromkeys(users))
    if (runs := len(lengths) * sum(users) * (repeat + 1)) > MOST_RUNS:
        raise InputError(
            f"The users would send {runs:,} requests to each engine.",
            hint=f"{MOST_RUNS:,} are enough: repeat the requests less often, or name fewer users or lengths.",
        )
    return tuple(
        BenchTest(prompt_tokens=length, tokens=tokens, users=number) for length in lengths for number in users
    )


def rotated(count: int, by: int) -> tuple[int, ...]:
    """Return 0 … count − 1, rotated so that `by` is first: in `count` rounds, each number is once at each position."""
    return tuple((number + by) % count for number in range(count))


def steps_of(
    engines: int, tests: Sequence[BenchTest], repeat: int, *, users: Sequence[BenchTest] = (), swap: bool
) -> Iterator[BenchStep]:
    """Yield the steps in an order that is balanced between the engines. Steps with several users come last.

    If all engines are open, they alternate within each test, and take turns at each test of users. With `swap`, each opening
    is followed by a warm-up and by all tests once, or by all of users, because opening takes longer than most tests.
    """
    turns = [(repetition, engine) for repetition in range(repeat) for engine in rotated(engines, repetition)]
    if swap:
        opened = None
        for repetition, engine in turns:
            if engine != opened:
                yield BenchStep(engine=engine, test=None, repetition=repetition)
                opened = engine
            for test in tests:
                yield BenchStep(engine=engine, test=test, repetition=repetition)
        order = [(test, engine) for engine in range(engines) for test in users]
    else:
        for engine in range(engines):
            yield BenchStep(engine=engine, test=None, repetition=0)
        for test in tests:
            for repetition, engine in turns:
                yield BenchStep(engine=engine, test=test, repetition=repetition)
        order = [(test, engine) for first, test in enumerate(users) for engine in rotated(engines, first)]
    for users_test, engine in order:
        yield BenchStep(engine=engine, test=users_test, repetition=0)


def spread(values: Sequence[float]) -> Json:
    """Return the mean, and the standard deviation of a sample (divided by n − 1), as llama-bench does; 0 for one value."""
    if not values:
        return None
    return {
        "mean": statistics.fmean(values),
        "stdev": statistics.stdev(values) if len(values) > 1 else 0.0,
    }


def distribution(values: Sequence[float]) -> Json:
    if not values:
        return None
    ordered = sorted(values)
    percentiles = {f"p{percent}": percentile(ordered, percent) for percent in (50, 95, 99)}
    return {"mean": statistics.fmean(ordered), **percentiles}


def notes_of(test: BenchTest, runs: Sequence[RunMetrics]) -> tuple[str, ...]:
    if not runs:
        return ()
    notes: list[str] = []
    prompts = {run.prompt_tokens for run in runs if run.prompt_tokens is not None}
    wanted = test.depth + test.prompt_tokens
    if prompts - {wanted}:
        counted = " to ".join(f"{number:,}" for number in sorted({min(prompts), max(prompts)}))
        notes.append(f"The engine counted {counted} tokens in the prompt instead of {wanted:,}.")
    cached = {run.cached_tokens for run in runs}
    if None in cached:
        notes.append(
            "The engine does not say how much of the prompt came from its cache, so there is no prefill rate."
            if not test.users
            else "The engine does not say how much of the prompts came from its cache."
        )
    elif cached != {test.depth}:
        most = max(number for number in cached if number is not None)
        notes.append(f"{most:,} tokens of the prompt came from the cache; the depth is {test.depth:,}.")
    fewest = min(run.completion_tokens for run in runs)
    if fewest < test.tokens:
        notes.append(f"Answers ended early: the shortest has {fewest:,} of {test.tokens:,} tokens.")
    if any(run.is_in_pieces for run in runs):
        notes.append("The engine sends several tokens in a piece: ITL is the time between pieces.")
    if any(run.estimated for run in runs):
        notes.append("The engine does not count its tokens: each piece counts as one.")
    if not test.users and any(run.shared for run in runs):
        notes.append("Another run used the same server or machine meanwhile.")
    return tuple(notes)


def throughput(
    test: BenchTest, answers: Sequence[RunMetrics], gaps_ms: Sequence[float], seconds: float
) -> dict[str, Json]:
    """Return the figures of the answers that ended while all users had requests in progress, as docs/bench.md defines them.

    `gaps_ms` has the milliseconds between the tokens, or pieces, of the answers.
    """
    each = [answer.tpot_ms for answer in answers if answer.tpot_ms]
    return {
        "answers": len(answers),
        "seconds": seconds,
        "tokens_per_s": sum(answer.completion_tokens for answer in answers) / seconds,
        "user_tps": spread([1000 / tpot_ms for tpot_ms in each]),
        "ttft_s": distribution([answer.ttft_s for answer in answers if answer.ttft_s is not None]),
        "tpot_ms": distribution(each),
        "itl_ms": distribution(gaps_ms),
        "notes": list(notes_of(test, answers)),
        "in_pieces": any(answer.is_in_pieces for answer in answers),
    }


@dataclass(slots=True, kw_only=True, eq=False)
class BenchedEngine:
    handles: list[EngineTask]
    """The engine; then, if several users were measured, a handle for each further user."""
    samples: dict[BenchTest, list[RunMetrics]] = field(default_factory=dict)
    """The measured runs of each test, oldest first, without warm-ups."""
    throughputs: dict[BenchTest, Mapping[str, Json]] = field(default_factory=dict)
    skipped: dict[BenchTest, str] = field(default_factory=dict)
    refused: dict[BenchTest, str] = field(default_factory=dict)
    """Why tests with users were not measured: the engine cannot answer so many users at once."""
    warnings: list[str] = field(default_factory=list)
    error: ParagoneError | None = None

    @property
    def engine(self) -> EngineTask:
        return self.handles[0]

    @property
    def is_empty(self) -> bool:
        return not self.samples and not self.throughputs

    @property
    def name(self) -> str:
        return self.engine.definition.name

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)
