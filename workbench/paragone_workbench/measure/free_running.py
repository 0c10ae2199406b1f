"""Greedy answers to the same prompts: how candidates agree with the reference, and which answers are degenerate. And
candidates that differ in the type of their KV cache."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from paragone import Backend, InputError, Json, Message, ParagoneError
from paragone.options import describe
from paragone.texts import counted
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
"""Number of characters that count as one token if the tokens are unknown."""


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


def answer_faults(engine: str, answers: Iterable[RunResult]) -> dict[str, Json]:
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


def agreement(
    reference: str, candidate: str, pairs: Sequence[tuple[RunResult, RunResult]]
) -> dict[str, Json]:
    """Return how the answers of a candidate agree with the reference's answers, for the `prompts` that both answered.

    `identical` is the number of prompts with the same text from both. For the other answers, `forks` has the number of
    equal tokens (characters, if an engine does not report its tokens) before the first difference, if this is known: an
    answer may be cut before it. `sound` prompts have an answer of the reference that is not degenerate; of these, the
    candidate's answers to the `lost` prompts are degenerate. For `regained` prompts, only the reference's answer is
    degenerate. A candidate has `collapsed` if it has lost at least three answers and more than half. `prompts_needed`
    would show with 80% power that the candidate loses more; None if it does not, or if that is shown.

    """
    prompts = len(pairs)
    is_same = [(one.thinking, one.text) == (other.thinking, other.text) for one, other in pairs]
    kept = all(answer.keeps_tokens for pair in pairs for answer in pair)
    unit = "token" if kept else "character"
    partings = (
        divergence(*pair, same_vocabulary=False)
        for pair, same in zip(pairs, is_same, strict=True)
        if not same
    )
    found = (parting.token if kept else parting.char for parting in partings)
    forks = sorted(fork for fork in found if fork is not None)
    quartiles = [percentile(forks, percent) for percent in (25, 50, 75)] if forks else []
    judged = [(is_degenerate(first), is_degenerate(second)) for first, second in pairs]
    sound = sum(not first for first, _ in judged)
    lost = sum(second and not first for first, second in judged)
    regained = sum(first and not second for first, second in judged)
    collapsed = lost >= FEWEST_LOST and 2 * lost > sound
    is_more = lost > regained and statistics.sign_test(lost, regained) < statistics.LEVEL
    needed = None
    if lost > regained and not (collapsed or is_more):
        difference = (lost - regained) / prompts
        variance = (lost + regained) / prompts - difference**2
        needed = statistics.values_needed(variance, difference, estimates_variance=False)
    sentences = []
    of_sound = f"its answers to {lost:,} of the {counted(sound, 'prompt')} that {reference} answers well are loops or empty."
    more_often = f"{candidate} gives degenerate answers more often than {reference}"
    if collapsed:
        sentences.append(f"{candidate} has collapsed: {of_sound}")
    elif is_more:
        sentences.append(f"{more_often}: {of_sound}")
    elif needed is not None:
        more = counted(statistics.rounded_up(max(1, needed - prompts)), "more prompt")
        sentences.append(
            f"Whether {more_often} is open ({lost:,} answers against {regained:,}); about {more} would settle this."
        )
    identical, interval = sum(is_same), None
    if prompts:
        interval = statistics.share_interval(identical / prompts, prompts)
        sentences.append(
            f"{candidate} gives the same greedy answer as {reference} to {identical:,} of {counted(prompts, 'prompt')} "
            f"({identical / prompts:.0%}, 95% interval {interval.low:.0%} to {interval.high:.0%})."
        )
    if quartiles:
        low, middle, high = quartiles
        sentences.append(
            f"Half of the other answers diverge within the first {counted(round(middle) + 1, unit)} (quartiles of the "
            f"equal {unit}s: {low:.0f} and {high:.0f})."
        )
    length = sum(_tokens(first) for first, _ in pairs)
    return {
        "reference": reference,
        "candidate": candidate,
        "prompts": prompts,
        "identical": identical,
        "interval": None if interval is None else interval.to_json(),
        "forks": {
            "unit": unit,
            "known": len(forks),
            **dict(zip(("p25", "median", "p75"), quartiles or (None,) * 3, strict=True)),
        },
        "length_ratio": sum(_tokens(second) for _, second in pairs) / length if length else None,
        "sound": sound,
        "lost": lost,
        "regained": regained,
        "collapsed": collapsed,
        "prompts_needed": needed,
        "sentence": " ".join(sentences),
    }


def _tokens(answer: RunResult) -> int:
    return answer.metrics.completion_tokens if answer.metrics is not None else len(answer.tokens)


def summarize(answers: Sequence[tuple[str, Mapping[int, RunResult]]]) -> dict[str, Json]:
    """Return the agreement of the candidates with the first engine, the reference, and the conduct of all engines. Each
    engine has its answers by the number of the prompt."""
    (reference, first), *others = answers
    return {
        "engines": [answer_faults(name, own.values()) for name, own in answers],
        "candidates": [
            agreement(reference, name, [(first[it], own[it]) for it in sorted(first.keys() & own.keys())])
            for name, own in others
        ],
    }


def known_sampling(engine: EngineTask) -> frozenset[str]:
    return (
        frozenset(info.name for info in describe(engine.backend.sampling)) if engine.backend else frozenset()
    )


def greedy(engine: EngineTask, **more: Json) -> Mapping[str, Json]:
    """Return the sampling options for greedy answers and the options `more`, except options that the engine lacks."""
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
"""Largest number of tokens of an answer, unless the user sets `max_tokens`: enough to show whether an answer repeats itself."""

_SEED = 1
"""The seed for engines that sample although greedy answers are requested: all use the same seed."""


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
        found = [
            f"{engine.definition.name} has no option `temperature`: whether its answers are greedy is unknown."
            for engine in self.engines
            if "temperature" not in known_sampling(engine)
        ]
        for engine, own in self.answers.items():
            said = (caution for answer in own.values() for caution in answer.cautions)
            found += dict.fromkeys(
                f"{engine.definition.name}: {caution.sentence}"
                for caution in said
                if caution.code == "not-cold"
            )
        return tuple(found)

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

    async def _ask(self, engine: EngineTask, number: int, *, prompt_ids: bool = False) -> None:
        longest = engine.definition.options.get("max_tokens", LONGEST)
        spec = RunSpec(
            messages=self.prompts[number],
            sampling=greedy(engine, max_tokens=longest, seed=_SEED),
            logprobs=0 if engine.capabilities.logprobs else None,
            cold=True,  # an answer depends on no earlier one
            prompt_ids=prompt_ids,
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
        return bool(self.fidelity.reference.windows) or any(self.compared_answers.values())

    def errors(self) -> dict[str, ParagoneError]:
        if self.stopped:
            return {}
        found = {engine.definition.name: error for engine, error in self.answer_errors.items()}
        return found | {one.name: one.error for one in self.fidelity.measured if one.error is not None}

    def to_json(self, *, text: str | None, prompts: str | None) -> dict[str, Json]:
        """Return the measurements. `text` and `prompts` name the files; None for the built-in ones."""
        free_running = self.free_running_json(prompts)
        return {"text": text, "suite": None, **fidelity_json(self.fidelity), "free_running": free_running}

    @property
    def compared_answers(self) -> Mapping[EngineTask, Mapping[int, RunResult]]:
        """The answers that are compared, the reference's first."""
        return self.answers

    def free_running_json(self, prompts: str | None) -> Json:
        answers = self.compared_answers
        if not any(answers.values()):
            return None
        return {
            "prompts": prompts,
            "asked": len(self.prompts),
            "partial": self.stopped or bool(self.answer_errors),
            "notes": list(self.cautions),
            **summarize([(engine.definition.name, own) for engine, own in answers.items()]),
        }
