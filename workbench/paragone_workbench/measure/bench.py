"""Measures the speed of engines one at a time, in a balanced order: tests, figures, throughput with several users."""

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
from paragone_workbench.measure import fidelity, free_running
from paragone_workbench.runs.metrics import RunMetrics, figures_json, percentile
from paragone_workbench.runs.run import Run, RunSpec
from paragone_workbench.runs.scheduler import REQUESTS_PER_SERVER, EnginePool, decide

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
    lengths, depths = dict.fromkeys(prompt_tokens), tuple(dict.fromkeys(depths))
    if (runs := len(lengths) * len(depths) * repeat) > MOST_RUNS:
        raise InputError(
            f"The bench would have {runs:,} runs of each engine.",
            hint=f"{MOST_RUNS:,} are enough: repeat the tests less often, or name fewer lengths or depths.",
        )
    tests = itertools.product(depths, lengths)
    return tuple(BenchTest(prompt_tokens=length, depth=depth, tokens=tokens) for depth, length in tests)


def users_tests(
    prompt_tokens: Sequence[int], users: Sequence[int], tokens: int, repeat: int
) -> tuple[BenchTest, ...]:
    """Return a test for each number of users with each prompt length. Raises InputError for more than `MOST_RUNS` runs."""
    lengths, users = dict.fromkeys(prompt_tokens), tuple(dict.fromkeys(users))
    if (runs := len(lengths) * sum(users) * (repeat + 1)) > MOST_RUNS:
        raise InputError(
            f"The users would send {runs:,} requests to each engine.",
            hint=f"{MOST_RUNS:,} are enough: repeat the requests less often, or name fewer users or lengths.",
        )
    tests = itertools.product(lengths, users)
    return tuple(BenchTest(prompt_tokens=length, tokens=tokens, users=number) for length, number in tests)


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


_FILLERS = ("a", "the", ".", "x", "1")
"""Words that are one token in most vocabularies."""

_FIRST, _LAST = 10_000, 99_999
"""The range of the numbers with which the prompts of users begin: all have five digits, so that prompts are equally long."""

_Words: TypeAlias = list[str]
_Length: TypeAlias = Callable[[_Words], Awaitable[int]]


class BenchPrompt(NamedTuple):
    """A prompt. `start` is the part of the text that fills the cache up to the test's depth; empty for depth 0."""

    text: str
    start: str

    def numbered(self, number: int) -> tuple[Message, ...]:
        """Return the request with this number. It begins with the number, so that no server has cached its prompt."""
        _, _, rest = self.text.partition(" ")
        return _asked(f"{_FIRST + number % (_LAST - _FIRST + 1)} {rest}")


def _asked(text: str) -> tuple[Message, ...]:
    return (Message(role="user", text=text),)


class PromptFitter:
    """Makes prompts for one engine. Without a tokenizer, their length is a guess that `learn` improves."""

    def __init__(self) -> None:
        self._words = fidelity.sample_text().split()
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
        self._tokens_per_word = counted / max(1, len(prompt.text.split()))

    def _guess(self, test: BenchTest) -> BenchPrompt:
        start = max(0, round(test.depth / self._tokens_per_word))
        count = max(1, round(test.prompt_tokens / self._tokens_per_word))
        text = [*self._beginning(test), *self._text(start + count)]
        return BenchPrompt(text=" ".join(text), start=" ".join(text[:start]))

    async def _fit(self, test: BenchTest, engine: OpenEngine, sampling: Mapping[str, Json]) -> BenchPrompt:
        async def ids(words: _Words) -> Sequence[int]:
            request = TokenizeRequest(messages=_asked(" ".join(words)), sampling=sampling)
            return (await engine.tokenize(request)).ids

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
            for fillers in range(1, missing + 1):
                filled = [*words, *[filler] * fillers]
                if await length(filled) == wanted:
                    return filled
        return words

    def _beginning(self, test: BenchTest) -> _Words:
        return [str(_FIRST)] if test.users else []

    def _text(self, count: int) -> _Words:
        return list(itertools.islice(itertools.cycle(self._words), count))


def bench_pool(
    registry: Registry, definitions: Iterable[EngineDefinition], users: Iterable[int] = ()
) -> EnginePool:
    """Return a pool for a bench with these numbers of users: with as many slots, unless a definition sets them."""
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
    """Return a sentence that says why an engine cannot answer these users at once; empty if the engine can."""
    most = engine.placement.most_at_once
    if most is None or users <= most:
        return ""
    prompts = "one prompt" if most == 1 else f"{most:,} prompts"
    return (
        f"{engine.definition.name} answers {prompts} at a time, so {counted(users, 'user')} at once cannot be "
        "measured."
    )


OnStep = Callable[[Sequence[BenchStep]], None]
"""Called before each step, with this step and all that remain."""


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
        """The tests with several users at once, which come after the other tests."""
        self.repeat = repeat
        """Number of runs of each test on each engine or, with users, of each user on average."""
        self.reason = ""
        """Why only one engine is in memory at a time; empty if all engines are open."""
        self.stopped = False
        self._pool = pool
        self._prompts = {engine: PromptFitter() for engine in self.engines}
        self._runs: set[Run] = set()
        self._numbers = itertools.count()

    @property
    def schedule(self) -> str:
        return self._pool.order

    @property
    def partial(self) -> bool:
        return self.stopped or any(engine.error is not None or engine.skipped for engine in self.engines)

    async def measure(self, on_step: OnStep = lambda left: None) -> None:
        """Open and measure the engines. An error of one engine is kept with that engine; other engines continue."""
        decision = await decide(self._pool.engines)
        if decision.mode == "swap":
            self._pool.mode, self.reason = "swap", decision.reason
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
            if test is not None and test.users:
                await self._measure_users(benched, test)
            else:
                await self._do(benched, test)

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
        await self._pool.close()

    async def _open(self, benched: BenchedEngine) -> None:
        benched.engine.open(physical_cores())  # engines compute one after the other
        if not await benched.engine.opened() and not self.stopped:
            benched.error = benched.engine.error

    async def _do(self, benched: BenchedEngine, test: BenchTest | None) -> None:
        try:
            wanted = test or next((other for other in self.tests if other not in benched.skipped), None)
            if wanted is None:
                return
            prompt = await self._prompt(benched, wanted)
            if prompt is None:
                return
            if prompt.start:
                await self._run(benched, _asked(prompt.start), tokens=1, cold=False)
            metrics = await self._run(benched, _asked(prompt.text), wanted.tokens, cold=not prompt.start)
        except ParagoneError as error:
            if not self.stopped:
                benched.error = error
            return
        if metrics is None or self.stopped:
            return
        if metrics.prompt_tokens:
            self._prompts[benched].learn(prompt, metrics.prompt_tokens)
        if test is not None:
            benched.samples.setdefault(wanted, []).append(metrics)

    async def _measure_users(self, benched: BenchedEngine, test: BenchTest) -> None:
        if reason := refusal(benched.engine, test.users):
            benched.refused[test] = reason
            return
        mode = self._pool.mode
        try:
            prompt = await self._prompt(benched, test)
            if prompt is None or self.stopped:
                return
            self._pool.mode = "parallel"
            await self._open_for_users(benched, test.users)
            found = await self._throughput(benched, test, prompt)
        except ParagoneError as error:
            if not self.stopped:
                benched.error = error
            return
        finally:
            self._pool.mode = mode
        if found is not None:
            benched.throughputs[test] = found

    async def _open_for_users(self, benched: BenchedEngine, count: int) -> None:
        """Open a handle for each user, since a handle executes one run at a time."""
        while len(benched.handles) < count:
            benched.handles.append(self._pool.add(benched.engine.definition))
        for handle in benched.handles[:count]:
            handle.open(physical_cores())
        await asyncio.gather(*(handle.opened() for handle in benched.handles[:count]))
        if not self.stopped:
            for handle in benched.handles[:count]:
                handle.require_open()

    async def _throughput(
        self, benched: BenchedEngine, test: BenchTest, prompt: BenchPrompt
    ) -> Mapping[str, Json] | None:
        """Return the figures of `repeat` answers for each user on average, as docs/bench.md defines them; None after `stop`.

        The time begins when every user has had an answer that is not counted, and ends with the last counted
        answer. Until then, all users have a request in progress. Raises the error of the first run that fails.
        """
        sampling = free_running.greedy(benched.engine, max_tokens=test.tokens, ignore_eos=True)
        answers: list[RunMetrics] = []
        gaps_ms = array("d")
        failures: list[ParagoneError] = []
        without_answer = test.users
        began = ended = 0.0

        def is_done() -> bool:
            return bool(failures) or len(answers) == self.repeat * test.users or self.stopped

        def count_answer(run: Run, *, is_first: bool) -> None:
            nonlocal without_answer, began, ended
            meter, metrics = run.meter, run.result.metrics
            if meter is None or metrics is None:
                return
            ended = time.monotonic()
            if is_first:
                without_answer -= 1
                began = ended
            elif not without_answer:
                answers.append(metrics)
                gaps_ms.extend(meter.gaps_ms)

        async def ask(handle: EngineTask) -> None:
            is_first = True
            while not is_done():
                messages = prompt.numbered(next(self._numbers))
                spec = RunSpec(messages=messages, sampling=sampling, cold=True, bare=True)
                run = self._pool.run(handle, spec)
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
        each, seconds = [answer.tpot_ms for answer in answers if answer.tpot_ms], ended - began
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

    async def _prompt(self, benched: BenchedEngine, test: BenchTest) -> BenchPrompt | None:
        """Return the prompt of a test; None, with the reason in `skipped`, if the test exceeds the context."""
        handle = benched.engine
        async with self._pool.turn(handle):
            context = handle.require_open().context
            if context is not None and test.total > context:
                benched.skipped[test] = (
                    f"{benched.name}: depth {test.depth:,}, a prompt of {test.prompt_tokens:,} and {test.tokens:,} "
                    f"generated tokens exceed the context of {context:,} tokens."
                )
                return None
            fitter, sampling = self._prompts[benched], handle.sampling
            if not handle.capabilities.tokenize:
                return await fitter.fit(test, None, sampling)
            return await handle.use(lambda opened: fitter.fit(test, opened, sampling))

    async def _run(
        self, benched: BenchedEngine, messages: tuple[Message, ...], tokens: int, *, cold: bool
    ) -> RunMetrics | None:
        spec = RunSpec(
            messages=messages,
            sampling=free_running.greedy(benched.engine, max_tokens=tokens, ignore_eos=True),
            cold=cold,
        )
        run = self._pool.run(benched.engine, spec)
        self._runs.add(run)
        try:
            return (await run).metrics
        finally:
            self._runs.discard(run)
            for caution in run.cautions:
                if caution.code != "context-full":  # a test may fill the context exactly
                    benched.warn(caution.sentence)


FIGURES: Mapping[str, Callable[[RunMetrics], float | None]] = {
    **{name: attrgetter(name) for name in ("prefill_tps", "decode_tps", "ttft_s", "ttfo_s", "tpot_ms")},
    **{f"itl_p{percent}_ms": attrgetter(f"itl_ms.p{percent}") for percent in (50, 95, 99)},
}
"""The figures of a run by name in the JSON. docs/bench.md defines these figures."""


def bench_json(bench: Bench) -> dict[str, Json]:
    return {
        "schedule": bench.schedule,
        "repeat": bench.repeat,
        "partial": bench.partial,
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
    figures = {
        name: [value for sample in samples if (value := figure(sample)) is not None]
        for name, figure in FIGURES.items()
    }
    return {
        "prompt_tokens": test.prompt_tokens,
        "depth": test.depth,
        "tokens": test.tokens,
        "repetitions": len(samples),
        "skipped": benched.skipped.get(test),
        "notes": list(notes_of(test, samples)),
        "in_pieces": any(sample.is_in_pieces for sample in samples),
        "usage": [figures_json(sample)["usage"] for sample in samples],
        **{name: spread(values) for name, values in figures.items()},
    }


_NO_THROUGHPUT: Mapping[str, Json] = {
    **dict.fromkeys(("seconds", "tokens_per_s", "user_tps", "ttft_s", "tpot_ms", "itl_ms")),
    "answers": 0,
    "notes": (),
    "in_pieces": False,
}


def _users(benched: BenchedEngine, test: BenchTest) -> dict[str, Json]:
    return {
        "users": test.users,
        "prompt_tokens": test.prompt_tokens,
        "tokens": test.tokens,
        "skipped": benched.refused.get(test) or benched.skipped.get(test),
        **benched.throughputs.get(test, _NO_THROUGHPUT),
    }
