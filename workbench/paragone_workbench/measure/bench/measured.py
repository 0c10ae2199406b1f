"""The results of a bench: the runs of each engine, by test."""

from __future__ import annotations

from dataclasses import dataclass, field

from paragone import ParagoneError
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.measure.bench.notes import notes_of
from paragone_workbench.measure.bench.plan import BenchTest, UsersTest
from paragone_workbench.measure.bench.throughput import Throughput
from paragone_workbench.runs.metrics import RunMetrics


@dataclass(slots=True, kw_only=True, eq=False)
class BenchedEngine:
    """An engine and the engine's measurements so far."""

    engine: EngineHandle
    samples: dict[BenchTest, list[RunMetrics]] = field(default_factory=dict)
    """The measured runs of each test, oldest first, without warm-ups."""
    throughputs: dict[UsersTest, Throughput] = field(default_factory=dict)
    """The throughput of each test with several users at once."""
    skipped: dict[BenchTest, str] = field(default_factory=dict)
    """Why tests that exceed the context were not measured."""
    refused: dict[UsersTest, str] = field(default_factory=dict)
    """Why tests with users were not measured: the engine cannot answer so many users at once."""
    warnings: list[str] = field(default_factory=list)
    """The engine's warnings, each sentence once."""
    error: ParagoneError | None = None
    """Why the engine's measurement ended early."""

    @property
    def is_empty(self) -> bool:
        return not self.samples and not self.throughputs

    @property
    def name(self) -> str:
        return self.engine.definition.name

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def notes(self, test: BenchTest) -> tuple[str, ...]:
        """Return remarks that a reader of the figures of a test must know, as sentences."""
        return notes_of(test, self.samples.get(test, []))
