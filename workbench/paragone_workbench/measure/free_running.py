"""Greedy answers of engines to the same prompts: how they agree with the reference's, and which are degenerate; and KV
cache types as candidates."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from paragone import Backend, InputError, Json, Message, ParagoneError
from paragone.options import describe
from paragone.texts import counted
from paragone.wire import to_json
from paragone_workbench import statistics
from paragone_workbench.compare.divergence import divergence
from paragone_workbench.engines.definitions import EngineDefinition, check_engine, with_options
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.fidelity import WINDOW, Fidelity, MeasurementStep
from paragone_workbench.measure.fidelity_verdict import fidelity_json
from paragone_workbench.runs.metrics import percentile
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.runs.scheduler import EnginePool

TAIL, PERIOD = 64, 16
"""An answer is a loop if its last 64 tokens are repetitions of a sequence of 16 tokens at most."""

_CHARACTERS = 4
"""Number of characters that are taken for one token where the tokens are unknown."""


def is_loop(answer: RunResult) -> bool:
    """Return whether an answer ends in a loop. If the answer's tokens were not kept, four characters count as a token."""
    if answer.keeps_tokens:
        return _repeats([token.text if token.id is None else token.id for token in answer.tokens], 1)
    return _repeats(answer.thinking + answer.text, _CHARACTERS)


def is_empty(answer: RunResult) -> bool:
    return not (answer.thinking + answer.text).strip()


def is_degenerate(answer: RunResult) -> bool:
    return is_empty(answer) or is_loop(answer)


def _repeats(items: Sequence[object], unit: int) -> bool:
    """Return whether the end of a sequence is periodic. `unit` is the number of items that count as a token."""
    tail = items[-TAIL * unit :]
    if len(tail) < TAIL * unit:
        return False
    return any(tail[period:] == tail[:-period] for period in range(1, PERIOD * unit + 1))


FEWEST_LOST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How the answers of `candidate` agree with those of `reference`, over `prompts` that both answered.

    Attributes:
        identical: Number of prompts to which both engines gave the same text.
        forks: For each other prompt, how many tokens are the same before the first different one, in ascending order.
            A prompt is left out if that is unknown, for example because an answer was cut before.
        unit: The unit of `forks`: characters, if an engine does not report its tokens.
        length_ratio: Tokens of the candidate's answers by those of the reference's; None without any.
        sound: Number of prompts at which the reference's answer is not degenerate.
        lost: Number of prompts at which only the candidate's answer is degenerate.
        regained: Number of prompts at which only the reference's answer is degenerate.
    """

    reference: str
    candidate: str
    prompts: int
    identical: int
    forks: tuple[int, ...]
    unit: Literal["token", "character"]
    length_ratio: float | None
    sound: int
    lost: int
    regained: int

    @property
    def interval(self) -> statistics.Interval | None:
        return (
            statistics.share_interval(self.identical / self.prompts, self.prompts) if self.prompts else None
        )

    @property
    def fork_quartiles(self) -> tuple[float, float, float] | None:
        """The lower quartile, the median and the upper quartile of `forks`; None if `forks` is empty."""
        if not self.forks:
            return None
        return percentile(self.forks, 25), percentile(self.forks, 50), percentile(self.forks, 75)

    @property
    def is_collapsed(self) -> bool:
        """Whether the candidate has lost at least three answers, and more than half of the answers to the `sound` prompts."""
        return self.lost >= FEWEST_LOST and 2 * self.lost > self.sound

    def to_json(self) -> dict[str, Json]:
        quartiles = self.fork_quartiles
        fields = to_json(self, complete=True)
        del fields["forks"], fields["unit"]
        return {
            **fields,
            "interval": None if self.interval is None else self.interval.to_json(),
            "forks": {
                "unit": self.unit,
                "known": len(self.forks),
                **dict(zip(("p25", "median", "p75"), quartiles or (None,) * 3, strict=True)),
            },
            "collapsed": self.is_collapsed,
            "prompts_needed": prompts_needed(self),
            "sentence": agreement_verdict(self),
        }


def conduct(engine: str, answers: Iterable[RunResult]) -> dict[str, Json]:
    """Return the faults of an engine's answers: `cut` by a limit, `empty` without text, and `loops` at the end."""
    found = tuple(answers)
    return {
        "engine": engine,
        "answers": len(found),
        "loops": sum(map(is_loop, found)),
        "empty": sum(map(is_empty, found)),
        "cut": sum(answer.finish == "length" for answer in found),
        "median_tokens": median(map(_tokens, found)) if found else None,
    }


def agreement(reference: str, candidate: str, pairs: Sequence[tuple[RunResult, RunResult]]) -> Agreement:
    is_same = [(one.thinking, one.text) == (other.thinking, other.text) for one, other in pairs]
    kept = all(answer.keeps_tokens for pair in pairs for answer in pair)
    partings = (
        divergence(*pair, same_vocabulary=False)
        for pair, same in zip(pairs, is_same, strict=True)
        if not same
    )
    forks = [parting.token if kept else parting.char for parting in partings]
    judged = [(is_degenerate(first), is_degenerate(second)) for first, second in pairs]
    length = sum(_tokens(first) for first, _ in pairs)
    return Agreement(
        reference=reference,
        candidate=candidate,
        prompts=len(pairs),
        identical=sum(is_same),
        forks=tuple(sorted(fork for fork in forks if fork is not None)),
        unit="token" if kept else "character",
        length_ratio=sum(_tokens(second) for _, second in pairs) / length if length else None,
        sound=sum(not first for first, _ in judged),
        lost=sum(second and not first for first, second in judged),
        regained=sum(first and not second for first, second in judged),
    )


def _tokens(answer: RunResult) -> int:
    return answer.metrics.completion_tokens if answer.metrics is not None else len(answer.tokens)


def agreement_verdict(found: Agreement) -> str:
    """Return sentences on a candidate's answers, a collapse first; empty if no prompt was answered by both engines."""
    return " ".join(_sentences(found)) if found.prompts else ""


def prompts_needed(found: Agreement) -> int | None:
    """Return how many prompts show, with 80% power, that a candidate loses more answers; None if it does not."""
    if found.lost <= found.regained or found.is_collapsed or _loses_more(found):
        return None
    difference = (found.lost - found.regained) / found.prompts
    variance = (found.lost + found.regained) / found.prompts - difference**2
    return statistics.values_needed(variance, difference, estimates_variance=False)


def _sentences(found: Agreement) -> Iterator[str]:
    interval, needed = found.interval, prompts_needed(found)
    assert interval is not None  # there are prompts
    lost = (
        f"{found.lost:,} of the {counted(found.sound, 'prompt')} that {found.reference} answers soundly get a loop or "
        "no text."
    )
    if found.is_collapsed:
        yield f"{found.candidate} has collapsed: {lost}"
    elif _loses_more(found):
        yield f"{found.candidate} gives degenerate answers more often than {found.reference}: {lost}"
    elif needed is not None:
        more = counted(statistics.rounded_up(max(1, needed - found.prompts)), "more prompt")
        yield (
            f"Whether {found.candidate} gives degenerate answers more often than {found.reference} is open ({found.lost:,} answers "
            f"against {found.regained:,}); about {more} would settle this."
        )
    yield (
        f"{found.candidate} gives the same greedy answer as {found.reference} to {found.identical:,} of "
        f"{counted(found.prompts, 'prompt')} ({found.identical / found.prompts:.0%}, 95% interval {interval.low:.0%} to "
        f"{interval.high:.0%})."
    )
    if quartiles := found.fork_quartiles:
        low, middle, high = quartiles
        yield (
            f"Half of the other answers part within the first {counted(round(middle) + 1, found.unit)} (quartiles of the "
            f"equal {found.unit}s: {low:.0f} and {high:.0f})."
        )


def _loses_more(found: Agreement) -> bool:
    """Whether the candidate has more degenerate answers than the reference, by McNemar's exact test."""
    if found.lost <= found.regained:
        return False
    ours, theirs = [1.0] * found.lost + [0.0] * found.regained, [0.0] * found.lost + [1.0] * found.regained
    return statistics.paired_difference(theirs, ours, kind="passes").p < statistics.LEVEL


def summarize(answers: Sequence[tuple[str, Mapping[int, RunResult]]]) -> dict[str, Json]:
    """Return the agreement of the candidates with the first engine, the reference, and the conduct of all engines.

    Each engine has its answers by the number of the prompt.
    """
    (reference, first), *others = answers
    found = [
        agreement(
            reference, name, [(first[number], own[number]) for number in sorted(first.keys() & own.keys())]
        )
        for name, own in others
    ]
    return {
        "engines": [conduct(name, own.values()) for name, own in answers],
        "candidates": [one.to_json() for one in found],
    }


def known_sampling(engine: EngineTask) -> frozenset[str]:
    return (
        frozenset(info.name for info in describe(engine.backend.sampling)) if engine.backend else frozenset()
    )


def greedy(engine: EngineTask, **more: Json) -> Mapping[str, Json]:
    """Return the sampling options for greedy answers, and the options `more`, without options that the engine lacks."""
    wanted: dict[str, Json] = {"temperature": 0, **more}
    known = known_sampling(engine)
    return {name: value for name, value in wanted.items() if name in known}


_OPTIONS = frozenset({"type_k", "type_v", "cache_type"})
"""The names of load options that set the type of the KV cache, or of one half (keys or values) of the cache."""


def kv_candidates(
    engine: EngineDefinition, backend: Backend, types: Sequence[str]
) -> tuple[EngineDefinition, tuple[EngineDefinition, ...]]:
    """Return the engine with the default types of its backend, and a candidate for each distinct type in `types`.

    Both halves of the cache get the type. The name of each candidate ends in the type. Raises InputError if the
    backend has no option for the type, or a type is not one of the option's choices.
    """
    names = [info.name for info in describe(backend.load_options) if info.name in _OPTIONS]
    if not names:
        raise InputError(
            f"The KV cache of {engine.name} has no type that paragone can set: {backend.title} has no option for it.",
            hint="Use a backend that loads the model itself.",
        )
    default = dataclasses.replace(
        engine, options={name: value for name, value in engine.options.items() if name not in names}
    )
    candidates = tuple(
        with_options(
            dataclasses.replace(default, name=f"{engine.name} KV {kind}"), dict.fromkeys(names, kind), backend
        )
        for kind in dict.fromkeys(types)
    )
    for candidate in candidates:
        check_engine(candidate, backend)
    return default, candidates


LONGEST = 200
"""Largest number of tokens of an answer, unless the user sets `max_tokens`: enough to show whether an answer repeats
itself."""

_SEED = 1
"""The seed for engines that sample although greedy answers are wanted, so that all use the same seed."""


class Comparison:
    """A comparison of engines by distributions over a text and by greedy answers to prompts. The results so far can be
    read at any time, also after an error or `stop`."""

    def __init__(
        self,
        registry: Registry,
        engines: Sequence[EngineDefinition],
        text: str,
        prompts: Sequence[Sequence[Message]],
        *,
        known: frozenset[str] = frozenset(),
        window: int = WINDOW,
    ) -> None:
        """Prepare to compare the first engine with the others. `known` has the names of the engines whose distributions
        are known, and which therefore only answer the prompts."""
        self._pool = EnginePool(registry, mode="sequential")
        reference, *candidates = self.engines = tuple(map(self._pool.add, engines))
        unknown = [candidate for candidate in candidates if candidate.definition.name not in known]
        self.fidelity = Fidelity(reference, unknown, text, window=window)
        self.refused: ParagoneError | None = None
        """Why no distributions were compared."""
        self.prompts = tuple(tuple(messages) for messages in prompts)
        self.answers: dict[EngineTask, dict[int, RunResult]] = {engine: {} for engine in self.engines}
        """The answers of each engine by the number of the prompt."""
        self.answer_errors: dict[EngineTask, ParagoneError] = {}
        self.stopped = False

    @property
    def cautions(self) -> tuple[str, ...]:
        return tuple(
            f"{engine.definition.name} has no option `temperature`: whether its answers are greedy is unknown."
            for engine in self.engines
            if "temperature" not in known_sampling(engine)
        )

    async def measure(self, on_step: Callable[[MeasurementStep], None]) -> None:
        """Measure the distributions, then ask prompt by prompt. An error of an engine is kept with that engine; other
        engines continue."""
        if self.fidelity.candidates:
            try:
                await self.fidelity.measure(on_step)
            except ParagoneError as error:
                self.refused = None if self.stopped else error
        total = len(self.prompts) * len(self.engines)
        for number in range(len(self.prompts)):
            for position, engine in enumerate(self.engines):
                if self.stopped:
                    return
                done = number * len(self.engines) + position
                on_step(MeasurementStep("prompt", done, total, number + 1, len(self.prompts)))
                if engine not in self.answer_errors or engine.is_open:
                    await self._ask(engine, number)

    async def _ask(self, engine: EngineTask, number: int) -> None:
        longest = engine.definition.options.get("max_tokens", LONGEST)
        spec = RunSpec(
            messages=self.prompts[number],
            sampling=greedy(engine, max_tokens=longest, seed=_SEED),
            logprobs=0 if engine.capabilities.logprobs else None,
            cold=True,  # an answer depends on no earlier one
        )
        try:
            answer = await self._pool.run(engine, spec)
        except ParagoneError as error:
            if not self.stopped:
                self.answer_errors.setdefault(engine, error)
            return
        if answer.state == "done":
            self.answers[engine][number] = answer

    async def stop(self) -> None:
        self.stopped = True
        await self._pool.stop()
        await self.fidelity.stop()

    async def close(self) -> None:
        await self._pool.close()

    @property
    def is_measured(self) -> bool:
        return bool(self.fidelity.reference.windows) or any(self.answers.values())

    def errors(self) -> dict[str, ParagoneError]:
        if self.stopped:
            return {}
        found = {engine.definition.name: error for engine, error in self.answer_errors.items()}
        return found | {one.name: one.error for one in self.fidelity.measured if one.error is not None}

    def to_json(self, *, text: str | None, prompts: str | None) -> dict[str, Json]:
        """Return what was measured. `text` and `prompts` name the files; None for those that come with paragone."""
        free_running: Json = None
        if any(self.answers.values()):
            free_running = {
                "prompts": prompts,
                "asked": len(self.prompts),
                "partial": self.stopped or bool(self.answer_errors),
                "notes": list(self.cautions),
                **summarize([(engine.definition.name, own) for engine, own in self.answers.items()]),
            }
        return {"text": text, **fidelity_json(self.fidelity), "free_running": free_running}
