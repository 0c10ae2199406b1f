"""Measures the speed of engines one at a time, in a balanced order: tests, figures, and throughput with several users."""

import asyncio
import itertools
import statistics
import time
from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from paragone import InputError, Json, Message, OpenEngine, ParagoneError, TokenizeRequest
from paragone.options import slots_option
from paragone.texts import counted
from paragone.threads import physical_cores
from paragone_workbench.engines.definitions import EngineDefinition, with_options
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.engines.registry import Registry
from paragone_workbench.machine import machine_load
from paragone_workbench.measure import fidelity, free_running
from paragone_workbench.runs.metrics import RunMetrics, figures_json, percentile
from paragone_workbench.runs.run import Run, RunSpec
from paragone_workbench.runs.scheduler import REQUESTS_PER_SERVER, EnginePool, decide

MOST_RUNS = 10_000
"""Largest number of runs of an engine: all runs are planned before the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTest:
    """Single runs; with `users`, a throughput: each user sends a request as soon as the previous one is answered."""

    prompt_tokens: int
    """Number of tokens to process after the cached tokens, including the tokens of the chat template."""
    depth: int = 0
    tokens: int
    users: int = 0

    @property
    def total(self) -> int:
        return self.depth + self.prompt_tokens + self.tokens


class BenchStep(NamedTuple):
    """One run of an engine, or all runs of its users. A step without a test is a warm-up."""

    engine: int
    test: BenchTest | None
    repetition: int


def bench_tests(
    prompt_tokens: Sequence[int], depths: Sequence[int], tokens: int, repeat: int
) -> tuple[BenchTest, ...]:
    """Return a test for each prompt length at each depth. Raises InputError for more than `MOST_RUNS` runs."""
    tests = list(itertools.product(dict.fromkeys(depths), dict.fromkeys(prompt_tokens)))
    _check_runs(len(tests) * repeat, "The bench would have {:,} runs of each engine.", "tests", "depths")
    return tuple(BenchTest(prompt_tokens=length, depth=depth, tokens=tokens) for depth, length in tests)


def users_tests(
    prompt_tokens: Sequence[int], users: Sequence[int], tokens: int, repeat: int
) -> tuple[BenchTest, ...]:
    """Return a test for each number of users with each prompt length. Raises InputError for more than `MOST_RUNS` runs."""
    tests = list(itertools.product(dict.fromkeys(prompt_tokens), dict.fromkeys(users)))
    requests = sum(number for _, number in tests) * (repeat + 1)
    _check_runs(requests, "The users would send {:,} requests to each engine.", "requests", "users")
    return tuple(BenchTest(prompt_tokens=length, tokens=tokens, users=number) for length, number in tests)


def _check_runs(runs: int, message: str, repeated: str, fewer: str) -> None:
    if runs > MOST_RUNS:
        raise InputError(
            message.format(runs),
            hint=f"{MOST_RUNS:,} are enough: repeat the {repeated} less often, or name fewer lengths or {fewer}.",
        )


def rotated(count: int, by: int) -> tuple[int, ...]:
    """Return 0 … count − 1, rotated so that `by` is first: in `count` rounds, each number is at each position once."""
    return tuple((number + by) % count for number in range(count))


def steps_of(
    engines: int, tests: Sequence[BenchTest], repeat: int, *, users: Sequence[BenchTest] = (), swap: bool
) -> Iterator[BenchStep]:
    """Yield the steps in an order that is balanced between the engines. Steps with several users come last.

    If all engines are open, they alternate within each test, and take turns with each test of users. With `swap`, each
    opening is followed by a warm-up and by each test once, or by all tests of users: opening takes longer than most tests.

    """
    turns = [(repetition, engine) for repetition in range(repeat) for engine in rotated(engines, repetition)]
    if swap:
        opened = None
        for repetition, engine in turns:
            if engine != opened:
                yield BenchStep(engine, None, repetition)
                opened = engine
            yield from (BenchStep(engine, test, repetition) for test in tests)
        yield from (BenchStep(engine, test, 0) for engine in range(engines) for test in users)
    else:
        yield from (BenchStep(engine, None, 0) for engine in range(engines))
        yield from (BenchStep(engine, test, repetition) for test in tests for repetition, engine in turns)
        for first, test in enumerate(users):
            yield from (BenchStep(engine, test, 0) for engine in rotated(engines, first))


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


_BUSY = 0.1
"""The standard deviation of the decode rate, as a share of its mean, above which the machine counts as busy."""


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
            "The engine does not report how much of the prompt came from its cache, so there is no prefill rate."
            if not test.users
            else "The engine does not report how much of the prompts came from its cache."
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
    rates = [run.decode_tps for run in runs if run.decode_tps is not None]
    if not test.users and len(rates) > 1:
        varies = statistics.stdev(rates) / statistics.fmean(rates)
        if varies > _BUSY:
            notes.append(
                f"The decode rate varies by {varies:.0%}: the machine was busy or changed its speed."
            )
    return tuple(notes)


_FILLERS = ("a", "the", ".", "x", "1")
"""Words that are one token in most vocabularies."""

_FIRST, _LAST = 10_000, 99_999
"""The prompts of users begin with numbers from this range: all have five digits, so that the prompts are equally long."""

_Words: TypeAlias = list[str]

BenchPrompt: TypeAlias = tuple[str, str]
"""The text of a prompt, and its beginning that fills the cache up to the test's depth; empty for depth 0."""


def _asked(text: str) -> tuple[Message, ...]:
    return (Message(role="user", text=text),)


def _numbered(text: str, number: int) -> tuple[Message, ...]:
    """Return the request with this number. The prompt begins with the number, so that no server has it in its cache."""
    return _asked(f"{_FIRST + number % (_LAST - _FIRST + 1)} {text.partition(' ')[2]}")


def guessed_prompt(test: BenchTest, tokens_per_word: float) -> BenchPrompt:
    start = max(0, round(test.depth / tokens_per_word))
    count = max(1, round(test.prompt_tokens / tokens_per_word))
    words = [*_beginning(test), *_text(start + count)]
    return " ".join(words), " ".join(words[:start])


async def fitted_prompt(test: BenchTest, engine: OpenEngine, sampling: Mapping[str, Json]) -> BenchPrompt:
    async def ids(words: _Words) -> Sequence[int]:
        request = TokenizeRequest(messages=_asked(" ".join(words)), sampling=sampling)
        return (await engine.tokenize(request)).ids

    async def length(words: _Words) -> int:
        return len(await ids(words))

    async def shared(words: _Words) -> int:
        """Return how many tokens at the start of the prompt stay the same if another word follows it."""
        pairs = zip(await ids(words), await ids([*words, "and"]), strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

    start = await _words_of(test.depth, shared, []) if test.depth else []
    begin = [*start, "and"] if start else _beginning(test)
    words = await _words_of(test.depth + test.prompt_tokens, length, begin)
    return " ".join(words), " ".join(start)


async def _words_of(wanted: int, length: Callable[[_Words], Awaitable[int]], start: _Words) -> _Words:
    """Return words that begin with `start` and have the wanted length in tokens, else the nearest smaller length."""
    low, high = 1, max(2, wanted)  # a word has at least one token
    while high - low > 1:
        middle = (low + high) // 2
        if await length([*start, *_text(middle)]) <= wanted:
            low = middle
        else:
            high = middle
    words = [*start, *_text(low)]
    missing = wanted - await length(words)
    for filler in _FILLERS if missing > 0 else ():
        for fillers in range(1, missing + 1):
            filled = [*words, *[filler] * fillers]
            if await length(filled) == wanted:
                return filled
    return words


def _beginning(test: BenchTest) -> _Words:
    return [str(_FIRST)] if test.users else []


def _text(count: int) -> _Words:
    return list(itertools.islice(itertools.cycle(fidelity.sample_text().split()), count))


@dataclass(slots=True, kw_only=True, eq=False)
class BenchedEngine:
    handles: list[EngineTask]
    """The engine; then, if several users were measured, a handle for each further user."""
    samples: dict[BenchTest, list[RunMetrics]] = field(default_factory=dict)
    """The measured runs of each test, oldest first, without warm-ups."""
    throughputs: dict[BenchTest, Mapping[str, Json]] = field(default_factory=dict)
    skipped: dict[BenchTest, str] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    """Messages as keys, so that each occurs once."""
    prompts: dict[BenchTest, BenchPrompt] = field(default_factory=dict)
    tokens_per_word: float = 1.35
    """A guess for an engine that cannot tokenize; each run improves it."""
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


def bench_pool(
    registry: Registry, definitions: Iterable[EngineDefinition], users: Iterable[int] = ()
) -> EnginePool:
    """Return a pool for a bench with these numbers of users. Engines get as many slots, unless their definitions set
    a number."""
    most = max(users, default=1)
    pool = EnginePool(registry, mode="sequential", requests_per_server=max(most, REQUESTS_PER_SERVER))
    for definition in definitions:
        backend = registry.find(definition.backend)
        option = None if backend is None else slots_option(backend.load_options)
        if option is not None and option.name not in definition.options and most > 1:
            definition = with_options(definition, {option.name: most}, backend)
        pool.add(definition)
    return pool


def refusal(engine: EngineTask, users: int) -> str:
    """Return the reason why an engine cannot answer these users concurrently; empty if the engine can."""
    most = engine.placement.most_at_once
    if most is None or users <= most:
        return ""
    prompts = "one prompt" if most == 1 else f"{most:,} prompts"
    return (
        f"{engine.definition.name} answers {prompts} at a time, so {counted(users, 'concurrent user')} cannot be "
        "measured."
    )


class Bench:
    """A measurement of speeds. The results so far can be read at any time, also after an error or `stop`."""

    def __init__(
        self,
        pool: EnginePool,
        tests: Sequence[BenchTest],
        *,
        users: Sequence[BenchTest] = (),
        repeat: int = 5,
    ) -> None:
        """Prepare to measure the engines of a `sequential` pool; with `users`, of a pool that `bench_pool` made."""
        self.engines = tuple(BenchedEngine(handles=[engine]) for engine in pool.engines)
        self.tests = tuple(tests)
        self.users = tuple(users)
        """The tests with several concurrent users, which follow the other tests."""
        self.repeat = repeat
        """Number of runs of each test on each engine or, with users, of each user on average."""
        self.reason = ""
        """Why only one engine is in memory at a time; empty if all engines are open."""
        self.stopped = False
        self.load: dict[str, Json] = {}
        """The load of this machine, as `bench_json` reports it."""
        self.pool = pool
        self._runs: set[Run] = set()
        self._numbers = itertools.count()

    @property
    def partial(self) -> bool:
        return self.stopped or any(engine.error is not None or engine.skipped for engine in self.engines)

    async def measure(self, on_step: Callable[[list[BenchStep]], None] = lambda left: None) -> None:
        """Open and measure the engines. An error of one engine is kept with that engine; other engines continue.
        `on_step` gets each step before it begins, followed by all remaining steps."""
        before = most = machine_load()
        decision = await decide(self.pool.engines)
        if decision.mode == "swap":
            self.pool.mode, self.reason = "swap", decision.reason
        else:
            await asyncio.gather(*map(self._open, self.engines))
        swap = decision.mode == "swap"
        steps = list(steps_of(len(self.engines), self.tests, self.repeat, users=self.users, swap=swap))
        while steps:
            left = [
                step
                for step in steps
                if (it := self.engines[step.engine]).error is None and step.test not in it.skipped
            ]
            if self.stopped or not left:
                return
            on_step(left)
            steps = left[1:]
            benched, test = self.engines[left[0].engine], left[0].test
            try:
                if test is not None and test.users:
                    await self._measure_users(benched, test)
                else:
                    await self._measure_once(benched, test)
            except ParagoneError as error:
                if not self.stopped:
                    benched.error = error
            most = max(most, machine_load())
            self.load = {"before": before, "most": most, "cores": physical_cores()}

    async def stop(self) -> None:
        """End the measurement early. The runs in progress are dropped."""
        self.stopped = True
        if self._runs:
            self._stop_runs()
        else:
            await self.close()

    def _stop_runs(self) -> None:
        for run in self._runs:
            run.stop()

    async def close(self) -> None:
        await self.pool.close()

    async def _open(self, benched: BenchedEngine) -> None:
        benched.engine.open(physical_cores())  # engines compute one after the other
        if not await benched.engine.opened() and not self.stopped:
            benched.error = benched.engine.error

    async def _measure_once(self, benched: BenchedEngine, test: BenchTest | None) -> None:
        wanted = test or next((other for other in self.tests if other not in benched.skipped), None)
        prompt = None if wanted is None else await self._prompt(benched, wanted)
        if wanted is None or prompt is None:
            return
        text, start = prompt
        if start:
            await self._run(benched, _asked(start), tokens=1, cold=False)
        metrics = await self._run(benched, _asked(text), wanted.tokens, cold=not start)
        if metrics is None or self.stopped:
            return
        if metrics.prompt_tokens:
            benched.tokens_per_word = metrics.prompt_tokens / max(1, len(text.split()))
        if test is not None:
            benched.samples.setdefault(wanted, []).append(metrics)

    async def _measure_users(self, benched: BenchedEngine, test: BenchTest) -> None:
        if refusal(benched.engine, test.users):
            return
        mode = self.pool.mode
        try:
            prompt = await self._prompt(benched, test)
            if prompt is None or self.stopped:
                return
            self.pool.mode = "parallel"
            await self._open_for_users(benched, test.users)
            found = await self._throughput(benched, test, prompt[0])
        finally:
            self.pool.mode = mode
        if found is not None:
            benched.throughputs[test] = found

    async def _open_for_users(self, benched: BenchedEngine, count: int) -> None:
        """Open a handle for each user, since a handle executes one run at a time."""
        while len(benched.handles) < count:
            benched.handles.append(self.pool.add(benched.engine.definition))
        for handle in benched.handles[:count]:
            handle.open(physical_cores())
        await asyncio.gather(*(handle.opened() for handle in benched.handles[:count]))
        if not self.stopped:
            for handle in benched.handles[:count]:
                handle.require_open()

    async def _throughput(
        self, benched: BenchedEngine, test: BenchTest, text: str
    ) -> Mapping[str, Json] | None:
        """Return the figures of `repeat` answers for each user on average, as docs/bench.md defines them; None after
        `stop`.

        The time begins once every user has had one uncounted answer, and ends with the last counted answer. All this
        time, every user has a request in progress. Raises the error of the first run that fails.

        """
        sampling = free_running.greedy(benched.engine, max_tokens=test.tokens, ignore_eos=True)
        answers: list[RunMetrics] = []
        gaps_ms, ends = array("d"), [0.0]
        failures: list[ParagoneError] = []
        without_answer = test.users

        def is_done() -> bool:
            return bool(failures) or len(answers) == self.repeat * test.users or self.stopped

        def count_answer(run: Run, *, is_first: bool) -> None:
            nonlocal without_answer
            meter, metrics = run.meter, run.result.metrics
            if meter is None or metrics is None:
                return
            if is_first:
                without_answer -= 1
                ends[0] = time.monotonic()
            elif not without_answer:
                ends.append(time.monotonic())
                answers.append(metrics)
                gaps_ms.extend(meter.gaps_ms)

        async def ask(handle: EngineTask) -> None:
            is_first = True
            while not is_done():
                messages = _numbered(text, next(self._numbers))
                spec = RunSpec(messages=messages, sampling=sampling, cold=True, bare=True)
                run = self.pool.run(handle, spec)
                self._runs.add(run)
                try:
                    await run
                    if not is_done():
                        count_answer(run, is_first=is_first)
                except ParagoneError as error:
                    failures.append(error)
                finally:
                    self._runs.discard(run)
                is_first = False
            self._stop_runs()

        async with asyncio.TaskGroup() as tasks:
            for handle in benched.handles[: test.users]:
                tasks.create_task(ask(handle))
        if self.stopped:
            return None
        if failures:
            raise failures[0]
        each, seconds = [answer.tpot_ms for answer in answers if answer.tpot_ms], ends[-1] - ends[0]
        tokens = [answer.completion_tokens for answer in answers]
        rounds = range(0, len(answers), test.users)
        rates = [sum(tokens[at : at + test.users]) / (ends[at + test.users] - ends[at]) for at in rounds]
        return {
            "answers": len(answers),
            "seconds": seconds,
            "tokens_per_s": sum(tokens) / seconds,
            "tokens_per_s_stdev": statistics.stdev(rates) if len(rates) > 1 else 0.0,
            "user_tps": spread([1000 / tpot_ms for tpot_ms in each]),
            "ttft_s": distribution([answer.ttft_s for answer in answers if answer.ttft_s is not None]),
            "tpot_ms": distribution(each),
            "itl_ms": distribution(gaps_ms),
            "notes": list(notes_of(test, answers)),
            "in_pieces": any(answer.is_in_pieces for answer in answers),
        }

    async def _prompt(self, benched: BenchedEngine, test: BenchTest) -> BenchPrompt | None:
        """Return the prompt of a test; None, with the reason in `skipped`, if the test exceeds the context."""
        handle = benched.engine
        async with self.pool.turn(handle):
            context = handle.require_open().context
            if context is not None and test.total > context:
                benched.skipped[test] = (
                    f"{benched.name}: depth {test.depth:,}, a prompt of {test.prompt_tokens:,} and {test.tokens:,} "
                    f"generated tokens exceed the context of {context:,} tokens."
                )
                return None
            if not handle.capabilities.tokenize:
                return guessed_prompt(test, benched.tokens_per_word)  # a later guess is better
            if test not in benched.prompts:
                made = await handle.use(lambda opened: fitted_prompt(test, opened, handle.sampling))
                benched.prompts[test] = made
            return benched.prompts[test]

    async def _run(
        self, benched: BenchedEngine, messages: tuple[Message, ...], tokens: int, *, cold: bool
    ) -> RunMetrics | None:
        spec = RunSpec(
            messages=messages,
            sampling=free_running.greedy(benched.engine, max_tokens=tokens, ignore_eos=True),
            cold=cold,
        )
        run = self.pool.run(benched.engine, spec)
        self._runs.add(run)
        try:
            return (await run).metrics
        finally:
            self._runs.discard(run)
            for caution in run.cautions:
                if caution.code != "context-full":  # a test may fill the context exactly
                    benched.warnings[caution.sentence] = None


FIGURES: Mapping[str, Callable[[RunMetrics], float | None]] = {
    **{name: attrgetter(name) for name in ("prefill_tps", "decode_tps", "ttft_s", "ttfo_s", "tpot_ms")},
    **{f"itl_p{percent}_ms": attrgetter(f"itl_ms.p{percent}") for percent in (50, 95, 99)},
}
"""The figures of a run by name in the JSON. docs/bench.md defines these figures."""


def bench_json(bench: Bench) -> dict[str, Json]:
    return {
        "schedule": bench.pool.order,
        "repeat": bench.repeat,
        "partial": bench.partial,
        "load": bench.load or None,
        "engines": [
            {
                "engine": benched.name,
                "backend": benched.engine.definition.backend,
                "model": benched.engine.definition.model,
                "error": None if benched.error is None else str(benched.error),
                "warnings": list(benched.warnings),
                "tests": [_test(benched, test) for test in bench.tests],
                "users": [_users(benched, test) for test in bench.users],
            }
            for benched in bench.engines
        ],
    }


def _test(benched: BenchedEngine, test: BenchTest) -> dict[str, Json]:
    samples = benched.samples.get(test, [])
    return {
        "prompt_tokens": test.prompt_tokens,
        "depth": test.depth,
        "tokens": test.tokens,
        "repetitions": len(samples),
        "skipped": benched.skipped.get(test),
        "notes": list(notes_of(test, samples)),
        "in_pieces": any(sample.is_in_pieces for sample in samples),
        "usage": [figures_json(sample)["usage"] for sample in samples],
        "decode_rates": [sample.decode_tps for sample in samples],
        **{
            name: spread([value for sample in samples if (value := figure(sample)) is not None])
            for name, figure in FIGURES.items()
        },
    }


_NO_THROUGHPUT: Mapping[str, Json] = {
    **dict.fromkeys(
        ("seconds", "tokens_per_s", "tokens_per_s_stdev", "user_tps", "ttft_s", "tpot_ms", "itl_ms")
    ),
    "answers": 0,
    "notes": (),
    "in_pieces": False,
}


def _users(benched: BenchedEngine, test: BenchTest) -> dict[str, Json]:
    return {
        "users": test.users,
        "prompt_tokens": test.prompt_tokens,
        "tokens": test.tokens,
        "skipped": refusal(benched.engine, test.users) or benched.skipped.get(test),
        **benched.throughputs.get(test, _NO_THROUGHPUT),
    }
