"""The types of experiments, votes and measurements in the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from paragone import Json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.identity import new_id
from paragone_workbench.runs.result import RunResult

__all__ = ["Experiment", "ExperimentRun", "Measurement", "MeasurementKind", "RunKey", "SavedVote"]

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


class RunKey(NamedTuple):
    """The place of a run in its experiment. All indices start at 0."""

    prompt_index: int
    engine_index: int
    repetition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRun:
    """A run of an experiment."""

    key: RunKey
    number: int
    """The 17 in `e3/17`, which people type; unique among the runs of all experiments."""
    result: RunResult
    assertions: tuple[Json, ...] = ()
    """The results of the assertions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedVote:
    """Which of several answers to a prompt was preferred."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a command measured of engines."""

    kind: MeasurementKind
    engines: tuple[EngineDefinition, ...]
    """Without their secret options. Of a fidelity, the first is the reference."""
    data: Mapping[str, Json]
    """As the command prints it with `--json`."""
    created: float
    """Seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    @property
    def measured(self) -> tuple[EngineDefinition, ...]:
        """The engines that the figures are of: without the reference of a fidelity."""
        return self.engines[1:] if self.kind == "fidelity" else self.engines
