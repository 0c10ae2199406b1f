"""The types of experiments, votes and measurements in the history."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from paragone import Json
from paragone.json_fields import text_at
from paragone.wire import from_json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.identity import new_id
from paragone_workbench.runs.metrics import figures_json
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store.errors import decoding

MeasurementKind: TypeAlias = Literal["fidelity", "bench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment: prompts × engines × repetitions."""

    name: str
    """The name of the file with the prompts."""
    fingerprint: str
    """A digest of the prompts, engines and settings: the same command gives the same."""
    schedule: str
    repetitions: int
    engines: tuple[EngineDefinition, ...]
    """Without their secret options."""
    machine: Mapping[str, Json]
    """The machine that began it."""
    prompts: int
    """Number of prompts."""
    created: float
    """Seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""
    number: int = 0
    """The 3 in `e3`, which people type; 0 before the experiment is saved."""
    done: int = 0
    """Number of saved runs that have ended by themselves."""
    failed: int = 0
    """Number of saved runs that have failed."""

    @property
    def runs(self) -> int:
        """Number of runs that the experiment consists of."""
        return self.prompts * len(self.engines) * self.repetitions

    @property
    def left(self) -> int:
        """Number of runs that have neither ended nor failed."""
        return self.runs - self.done - self.failed


class RunKey(NamedTuple):
    """The place of a run in its experiment. All indices start at 0."""

    prompt_index: int
    engine_index: int
    repetition: int


class Digests(NamedTuple):
    """What two runs have in common if one can stand for the other.

    Attributes:
        asked: A digest of the engine with its model's file, of the messages, and of the seed.
        checked: A digest of the assertions, the expected answer and the judges.
    """

    asked: str
    checked: str


class EndedRun(NamedTuple):
    """A run of an experiment that is yet to be saved."""

    key: RunKey
    result: RunResult
    assertions: Sequence[Json] = ()
    """The results of the assertions."""
    digests: Digests | None = None
    """The digests by which other experiments find the run; None if they must not use the run."""


class RunCount(NamedTuple):
    """The saved runs of an engine in one state, and the results of their assertions.

    Attributes:
        engine_index: The index of the engine.
        state: The state of the runs.
        runs: Number of runs.
        passed: Number of assertions that passed.
        not_passed: Number of assertions that failed.
        undecided: Number of assertions that gave no verdict.
    """

    engine_index: int
    state: str
    runs: int
    passed: int
    not_passed: int
    undecided: int


class KnownRun(NamedTuple):
    """A finished run of another experiment, whose request is the same as one of this experiment.

    Attributes:
        key: Its place in this experiment.
        digests: What was asked here.
        result: The run; None if its answer need not be checked again.
        run_id: The id of the run.
        assertions: The results of the assertions; of other assertions than those here if `result` is not None.
    """

    key: RunKey
    digests: Digests
    result: RunResult | None
    run_id: str
    assertions: tuple[Json, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionResult:
    """The result of one assertion of a prompt for an answer.

    Attributes:
        index: Its place in `SuitePrompt.assertions`, from 0.
        type: The name of the assertion; with `not ` before it if it is negated.
        passed: Whether it passed; None if no verdict could be given.
        reason: One sentence that says what was found, or why no verdict could be given.
        score: How well the assertion holds, or does not hold if it is negated, from 0 to 1; None if it only
            passes or fails.
        judges: What identifies the engines that were asked: their definitions, versions and weights; empty without.
    """

    index: int
    type: str
    passed: bool | None
    reason: str
    score: float | None = None
    judges: str = ""

    @property
    def verdict(self) -> Literal["passed", "failed", "unknown"]:
        """The result in a word."""
        return "unknown" if self.passed is None else "passed" if self.passed else "failed"


@dataclass(frozen=True, kw_only=True)  # without slots: `checks` is kept
class ExperimentRun:
    """A run of an experiment."""

    key: RunKey
    number: int
    """The 17 in `e3/17`, which people type; unique among the runs of all experiments."""
    result: RunResult
    assertions: tuple[Json, ...] = ()
    """The results of the assertions, as they were saved."""

    @functools.cached_property
    def checks(self) -> tuple[AssertionResult, ...]:
        """The results of the assertions. Raises StoreError if their record is damaged."""
        with decoding(f"The result of the assertions of run {self.number}"):
            return tuple(from_json(AssertionResult, saved) for saved in self.assertions)

    @property
    def passed(self) -> bool | None:
        """Whether all assertions passed; None if there are none, or if one gave no verdict."""
        return all(check.passed for check in self.checks) if self.checks and not self.is_undecided else None

    @property
    def is_undecided(self) -> bool:
        """Whether an assertion gave no verdict, whatever the others found."""
        return any(check.passed is None for check in self.checks)

    @property
    def scores(self) -> dict[str, float]:
        """The scores of the assertions by type; a second one of a type is numbered."""
        scores: dict[str, float] = {}
        if all(check.score is None for check in self.checks):
            return scores
        count: Counter[str] = Counter()
        for check in self.checks:
            count[check.type] += 1
            name = check.type if count[check.type] == 1 else f"{check.type}-{count[check.type]}"
            if check.score is not None:
                scores[name] = check.score
        return scores

    def reasons(self, *, passed: bool | None) -> list[str]:
        """Return the assertions with this result, each with its reason; None: those that gave no verdict."""
        return [f"{check.type}: {check.reason}" for check in self.checks if check.passed is passed]

    @property
    def is_clean(self) -> bool:
        """Whether the run did not fail and all assertions passed."""
        return self.result.state == "done" and all(check.passed is True for check in self.checks)

    @property
    def seconds(self) -> float:
        """Seconds from when the run was handed to its engine until it ended."""
        return max(0.0, (self.result.ended or 0.0) - self.result.started)

    def to_json(self) -> dict[str, Json]:
        """Return the run as `paragone suite run --json` prints it."""
        result = self.result
        return {
            "prompt_index": self.key.prompt_index,
            "engine": result.definition.name,
            "repetition": self.key.repetition,
            "text": result.text,
            "error": result.message if result.error else None,
            "assertions": [
                {
                    "type": check.type,
                    "passed": check.passed,
                    "reason": check.reason,
                    "score": check.score,
                    "judges": check.judges or None,
                }
                for check in self.checks
            ],
            **figures_json(result.metrics),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedMemory:
    """The memory that an engine takes at a context window.

    Attributes:
        engine: The engine's name.
        size: Bytes on all devices, estimated.
        context: The context window in tokens.
    """

    engine: str
    size: int
    context: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedChoice:
    """What `paragone choose` asked of an experiment: the decision itself follows from the runs.

    Attributes:
        reference: The name of the engine whose quality is wanted.
        margin: The largest loss of the pass rate that does not matter, as a share.
        memory: The memory of each engine for which it is known.
        left_out: Why other engines were left out, in sentences.
        unfit: The names of the engines that are compared and do not fit, so that they are not chosen.
        checked: Number of prompts whose answers are checked; 0 if unknown.
    """

    reference: str
    margin: float
    memory: tuple[EstimatedMemory, ...] = ()
    left_out: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    checked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedVote:
    """A vote: which of several answers to a prompt was preferred."""

    candidates: tuple[Json, ...]
    """In the order in which they were shown."""
    choice: str
    """The index of the preferred candidate, `tie` or `bad`."""
    blind: bool
    created: float
    """Seconds since 1970."""
    experiment_id: int | None = None
    """The number of the experiment."""
    prompt_index: int | None = None
    """The prompt in the experiment."""
    prompt_id: str | None = None
    """The prompt in a conversation."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""


def engines_of(candidates: Iterable[Json]) -> frozenset[str]:
    """Return the names of the engines of a vote's candidates."""
    return frozenset(text_at(candidate, "engine") for candidate in candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A measurement of engines by a command."""

    kind: MeasurementKind
    engines: tuple[EngineDefinition, ...]
    """Without their secret options. Of a fidelity, the first is the reference."""
    data: Mapping[str, Json]
    """As the command prints it with `--json`."""
    created: float
    """Seconds since 1970."""
    identities: tuple[str, ...] = ()
    """A digest of each engine with its model's file, in their order; empty in records of older versions."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    @property
    def measured(self) -> tuple[EngineDefinition, ...]:
        """The engines that have figures: all but the reference of a fidelity."""
        return self.engines[1:] if self.kind == "fidelity" else self.engines
