"""The figures of a bench, and the JSON output of `paragone bench`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from paragone import Json
from paragone_workbench.measure.bench.measured import BenchedEngine
from paragone_workbench.measure.bench.measurement import Bench
from paragone_workbench.measure.bench.plan import BenchTest, UsersTest
from paragone_workbench.measure.bench.spread import Spread
from paragone_workbench.runs.metrics import RunMetrics, figures_json

FIGURES: Mapping[str, Callable[[RunMetrics], float | None]] = {
    "prefill_tps": lambda run: run.prefill_tps,
    "decode_tps": lambda run: run.decode_tps,
    "ttft_s": lambda run: run.ttft_s,
    "ttfo_s": lambda run: run.ttfo_s,
    "tpot_ms": lambda run: run.tpot_ms,
    "itl_p50_ms": lambda run: run.itl_ms.p50,
    "itl_p95_ms": lambda run: run.itl_ms.p95,
    "itl_p99_ms": lambda run: run.itl_ms.p99,
}
"""The figures of a run by name in the JSON. docs/bench.md defines these figures."""


def figures_of(samples: Sequence[RunMetrics]) -> dict[str, Spread | None]:
    """Return the mean and the deviation of each figure over the runs that have the figure; None if no run has the figure."""
    return {
        name: Spread.of([value for sample in samples if (value := figure(sample)) is not None])
        for name, figure in FIGURES.items()
    }


def bench_json(bench: Bench) -> dict[str, Json]:
    """Return a measurement. Unknown values are null. docs/command-line.schema.json has the schema."""
    return {
        "schedule": bench.schedule,
        "repeat": bench.repeat,
        "partial": bench.partial,
        "engines": [_engine(engine, bench) for engine in bench.engines],
    }


def _engine(benched: BenchedEngine, bench: Bench) -> dict[str, Json]:
    definition = benched.engine.definition
    return {
        "engine": definition.name,
        "backend": definition.backend,
        "model": definition.model,
        "error": None if benched.error is None else str(benched.error),
        "warnings": list(benched.warnings),
        "tests": [_test(benched, test) for test in bench.tests],
        "users": [_users(benched, test) for test in bench.users],
    }


def _test(benched: BenchedEngine, test: BenchTest) -> dict[str, Json]:
    samples = benched.samples.get(test, [])
    return {
        "prompt_tokens": test.prompt_tokens,
        "depth": test.depth,
        "tokens": test.tokens,
        "repetitions": len(samples),
        "skipped": benched.skipped.get(test),
        "notes": list(benched.notes(test)),
        "usage": [figures_json(sample)["usage"] for sample in samples],
        **{name: None if spread is None else asdict(spread) for name, spread in figures_of(samples).items()},
    }


def _users(benched: BenchedEngine, test: UsersTest) -> dict[str, Json]:
    found = benched.throughputs.get(test)
    figures = {name: getattr(found, name, None) for name in ("user_tps", "ttft_s", "tpot_ms", "itl_ms")}
    return {
        "users": test.users,
        "prompt_tokens": test.prompt_tokens,
        "tokens": test.tokens,
        "skipped": benched.refused.get(test) or benched.skipped.get(test),
        "answers": 0 if found is None else found.answers,
        "seconds": None if found is None else found.seconds,
        "tokens_per_s": None if found is None else found.tokens_per_s,
        **{name: None if figure is None else asdict(figure) for name, figure in figures.items()},
        "notes": [] if found is None else list(found.notes),
    }
