"""What was measured: the runs of each engine, by test."""

from __future__ import annotations

from dataclasses import dataclass, field

from paragone import ParagoneError
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.measure.bench.plan import BenchTest
from paragone_workbench.runs.metrics import RunMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured run."""

    metrics: RunMetrics
    prefill_j: float | None = None
    """Joules of the prefill; None if unknown."""
    decode_j: float | None = None
    """Joules from the first token to the end."""
    prefill_net_j: float | None = None
    """Joules of the prefill, minus what the machine uses when idle."""
    decode_net_j: float | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class BenchedEngine:
    """An engine and its measurements so far."""

    engine: EngineHandle
    samples: dict[BenchTest, list[Sample]] = field(default_factory=dict)
    """The measured runs of each test, in their order, without warm-ups."""
    skipped: dict[BenchTest, str] = field(default_factory=dict)
    """Why a test was not measured."""
    warnings: list[str] = field(default_factory=list)
    """What the engine warned of, each sentence once."""
    error: ParagoneError | None = None
    """Why the engine's measurement ended early."""

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.definition.name

    def warn(self, sentence: str) -> None:
        """Remember a warning."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def notes(self, test: BenchTest) -> list[str]:
        """Return what a reader of the figures of a test must know, as sentences."""
        runs = [sample.metrics for sample in self.samples.get(test, [])]
        notes: list[str] = []
        prompts = {run.prompt_tokens for run in runs if run.prompt_tokens is not None}
        wanted = test.depth + test.prompt_tokens
        if prompts - {wanted}:
            counted = " to ".join(f"{number:,}" for number in sorted({min(prompts), max(prompts)}))
            notes.append(f"The engine counted {counted} tokens in the prompt instead of {wanted:,}.")
        cached = {run.cached_tokens for run in runs}
        if None in cached and runs:
            notes.append(
                "The engine does not say how much of the prompt came from its cache, so there is no prefill rate."
            )
        elif runs and cached != {test.depth}:
            most = max(number for number in cached if number is not None)
            notes.append(f"{most:,} tokens of the prompt came from the cache; the depth is {test.depth:,}.")
        fewest = min((run.completion_tokens for run in runs), default=test.tokens)
        if fewest < test.tokens:
            notes.append(f"Answers ended early: the shortest has {fewest:,} of {test.tokens:,} tokens.")
        if any(run.is_in_pieces for run in runs):
            notes.append("The engine sends several tokens in a piece: ITL is the time between pieces.")
        if any(run.shared for run in runs):
            notes.append("Another run used the same server or machine meanwhile.")
        return notes
