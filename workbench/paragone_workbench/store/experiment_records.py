"""The types of experiments, votes and measurements in the history."""

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from paragone import Json
from paragone.wire import from_json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.ids import new_id
from paragone_workbench.runs.metrics import figures_json
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store.errors import decoding

MeasurementKind: TypeAlias = Literal["fidelity", "bench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    name: str
    fingerprint: str
    """A digest of the prompts, engines and settings. The same command gives the same digest."""
    schedule: str
    repetitions: int
    engines: tuple[EngineDefinition, ...]
    """The definitions of the engines, without secret options."""
    machine: Mapping[str, Json]
    prompts: int
    created: float
    """When the experiment began, in seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""
    number: int = 0
    """The 3 in the id `e3` that people type; 0 before the experiment is saved."""
    done: int = 0
    """Number of saved runs that finished, without a failure or a stop."""
    failed: int = 0
    """Number of saved runs that have failed."""

    @property
    def runs(self) -> int:
        return self.prompts * len(self.engines) * self.repetitions

    @property
    def left(self) -> int:
        """Number of runs that have neither finished nor failed."""
        return self.runs - self.done - self.failed


class RunKey(NamedTuple):
    """The indices, from 0, that identify a run within an experiment."""

    prompt_index: int
    engine_index: int
    repetition: int


class Digests(NamedTuple):
    """The digests by which a run of an earlier experiment is found: `asked` of the engine, its file, messages and
    seed; `checked` of the assertions, the expected answer and the judges."""

    asked: str
    checked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionResult:
    """The result of one assertion of a prompt for an answer.

    Attributes:
        index: The index of the assertion in `SuitePrompt.assertions`.
        type: The name of the assertion. The name of a negated assertion begins with `not `.
        passed: Whether the assertion passed; None if the assertion gave no verdict.
        reason: One sentence with the reason for the verdict, or for the missing verdict.
        score: How well the assertion holds, from 0 to 1; None if the assertion has no scores. The score of a negated
            assertion says how well the negation holds.
        judges: An identification of the judges by definition, version and weights; empty if no judge was asked.
    """

    index: int
    type: str
    passed: bool | None
    reason: str
    score: float | None = None
    judges: str = ""

    @property
    def verdict(self) -> Literal["passed", "failed", "unknown"]:
        return "unknown" if self.passed is None else "passed" if self.passed else "failed"


@dataclass(frozen=True, kw_only=True)  # no slots: `checks` is cached in `__dict__`
class ExperimentRun:
    key: RunKey
    number: int
    """The 17 in `e3/17`, which people type; unique among the runs of all experiments."""
    result: RunResult
    assertions: tuple[Json, ...] = ()

    @functools.cached_property
    def checks(self) -> tuple[AssertionResult, ...]:
        """The results of the assertions. Raises StoreError if the saved results are damaged."""
        with decoding(f"The result of the assertions of run {self.number}"):
            return tuple(from_json(AssertionResult, saved) for saved in self.assertions)

    @property
    def passed(self) -> bool | None:
        """Whether all assertions passed; None without assertions, or if an assertion gave no verdict."""
        return all(check.passed for check in self.checks) if self.checks and not self.is_undecided else None

    @property
    def is_undecided(self) -> bool:
        return any(check.passed is None for check in self.checks)

    @property
    def scores(self) -> dict[str, float]:
        """The scores of the assertions by type. The second assertion of a type has the suffix `-2`, and so on."""
        scores: dict[str, float] = {}
        count: Counter[str] = Counter()
        for check in self.checks:
            count[check.type] += 1
            name = check.type if count[check.type] == 1 else f"{check.type}-{count[check.type]}"
            if check.score is not None:
                scores[name] = check.score
        return scores

    def reasons(self, *, passed: bool | None) -> list[str]:
        """Return the type and the reason of each assertion with this result; with None, of each assertion without a verdict."""
        return [f"{check.type}: {check.reason}" for check in self.checks if check.passed is passed]

    @property
    def is_clean(self) -> bool:
        return self.result.state == "done" and all(check.passed is True for check in self.checks)

    @property
    def seconds(self) -> float:
        """Seconds from handing the run to the engine until the end of the run."""
        return max(0.0, (self.result.ended or 0.0) - self.result.started)

    def to_json(self) -> dict[str, Json]:
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
    """The bytes that an engine takes on all devices together, with a context window of this many tokens."""

    engine: str
    size: int
    context: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedChoice:
    """The parameters of a `paragone choose`. The decision itself is computed from the runs of the experiment.

    Attributes:
        reference: The name of the engine whose quality the chosen engine should reach.
        margin: The largest acceptable loss of the pass rate, from 0 to 1.
        memory: The memory of each engine whose memory is known.
        left_out: Sentences that say why other engines were left out.
        unfit: The names of compared engines that cannot be chosen, because they do not fit in memory.
        checked: Number of prompts whose answers are checked; 0 if unknown.
        report: The SHA-256 of the report that the command wrote; empty without a report.
    """

    reference: str
    margin: float
    memory: tuple[EstimatedMemory, ...] = ()
    left_out: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    checked: int = 0
    report: str = ""


VoteChoice: TypeAlias = int | Literal["tie", "bad"]
"""The index of the best candidate, `tie` if all are equally good, or `bad` if all are bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VotedAnswer:
    engine: str
    """Name of the engine. Ratings take engines with the same name for one engine."""
    backend: str
    model: str
    run: str
    names_itself: bool = False
    """Whether the answer contains the name of its engine, or of its model's family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    candidates: tuple[VotedAnswer, ...]
    """The answers in the order in which they were shown, from left to right."""
    choice: VoteChoice
    blind: bool
    created: float
    """When the user voted, in seconds since 1970."""
    experiment_id: int | None = None
    """The number of the experiment; None for a vote in a conversation."""
    prompt_index: int | None = None
    prompt_id: str | None = None
    """The id of the prompt in the conversation; None for a vote in an experiment."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    def __post_init__(self) -> None:
        if len(self.candidates) < 2:
            raise ValueError("a vote needs two candidates or more")
        if isinstance(self.choice, int) and not 0 <= self.choice < len(self.candidates):
            raise ValueError(
                f"a vote over {len(self.candidates)} candidates cannot have the choice {self.choice}"
            )

    @property
    def engines(self) -> frozenset[str]:
        return frozenset(answer.engine for answer in self.candidates)

    @property
    def is_named(self) -> bool:
        """Whether an answer names its engine or model, so that the vote may not have been blind."""
        return any(answer.names_itself for answer in self.candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    kind: MeasurementKind
    engines: tuple[EngineDefinition, ...]
    """The definitions without secret options. In a measurement of fidelity, the first engine is the reference."""
    data: Mapping[str, Json]
    created: float
    """When the engines were measured, in seconds since 1970."""
    identities: tuple[str, ...] = ()
    """For each engine, a digest of its definition and its model's file; empty in records of older versions."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    @property
    def measured(self) -> tuple[EngineDefinition, ...]:
        """The engines that have figures: all engines except the reference of a measurement of fidelity."""
        return self.engines[1:] if self.kind == "fidelity" else self.engines
