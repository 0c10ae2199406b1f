"""The JSON output of `paragone bench`."""

from __future__ import annotations

from paragone import Json
from paragone_workbench.measure.bench.figures import Spread, figures_of
from paragone_workbench.measure.bench.measured import BenchedEngine
from paragone_workbench.measure.bench.measurement import Bench
from paragone_workbench.measure.bench.plan import BenchTest
from paragone_workbench.runs.figures import figures_json

__all__ = ["bench_json"]


def bench_json(bench: Bench) -> dict[str, Json]:
    """Return a measurement. Unknown values are null. docs/command-line.schema.json has the schema."""
    return {
        "schedule": bench.schedule,
        "repeat": bench.repeat,
        "partial": bench.partial,
        "energy": {
            "devices": list(bench.energy.names),
            "missing": list(bench.energy.missing),
            "idle_w": bench.idle_w,
        },
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
        "usage": [figures_json(sample.metrics)["usage"] for sample in samples],
        **{name: _spread(spread) for name, spread in figures_of(samples).items()},
    }


def _spread(spread: Spread | None) -> Json:
    return None if spread is None else {"mean": spread.mean, "stdev": spread.stdev}
