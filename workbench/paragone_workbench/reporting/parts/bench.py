"""An earlier measurement of the speed, as a part of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paragone import Json
from paragone.json_fields import count_at, list_at, number_at, objects_at
from paragone.wording import counted
from paragone_workbench.experiments.known_measurements import MeasurementJson
from paragone_workbench.reporting.drawings import Chart, Figure
from paragone_workbench.reporting.parts.charts import bar_chart
from paragone_workbench.reporting.public_text import public
from paragone_workbench.store.experiment_records import Measurement

_BENCH_CHARTS = (
    ("prefill_tps", "Prefill", "Tokens of the prompt processed per second. More is better.", "tokens/s", 1),
    ("decode_tps", "Decode rate", "Tokens generated per second after the first. More is better.", "tokens/s", 1),
    ("ttft_s", "TTFT", "Time to first token. Less is better.", "ms", 1000),
)  # fmt: skip
"""The figures that are shown: name in the JSON, title, note, unit, and the factor from the JSON's unit to the shown unit."""


def bench_charts(engines: list[tuple[str, MeasurementJson]]) -> Iterator[Chart]:
    """Yield a chart of each figure that an engine has."""
    tests = [[(name, test) for test in objects_at(engine, "tests")] for name, engine in engines]
    measured = [row for test in zip(*tests, strict=False) for row in test]
    for key, title, note, unit, factor in _BENCH_CHARTS:
        found = (_bench_figure(name, test, key, unit, factor) for name, test in measured)
        if figures := [figure for figure in found if figure is not None]:
            yield bar_chart(title, note, figures)


def _bench_figure(name: str, test: Mapping[str, Json], key: str, unit: str, factor: float) -> Figure | None:
    """Return a mean with its standard deviation; None if it is unknown."""
    mean, deviation = number_at(test, key, "mean"), number_at(test, key, "stdev")
    if mean is None or deviation is None:
        return None
    mean, deviation = factor * mean, factor * deviation
    digits = 0 if mean >= 100 else 1 if mean >= 10 else 2 if mean >= 1 else 3
    return Figure(
        name=public(name),
        value=mean,
        low=max(0.0, mean - deviation) if deviation else None,
        high=mean + deviation if deviation else None,
        text=f"{mean:,.{digits}f} ± {deviation:,.{digits}f} {unit}",
        count=_test(test),
    )


def _test(test: Mapping[str, Json]) -> str:
    """Return the sizes of a test, such as `prompt 512, depth 2,048`, in tokens."""
    prompt, depth = count_at(test, "prompt_tokens"), count_at(test, "depth")
    text = "" if prompt is None else f"prompt {prompt:,}"
    return f"{text}, depth {depth:,}" if depth else text


def about_bench(engines: list[tuple[str, MeasurementJson]], measurement: Measurement) -> Iterator[str]:
    """Yield phrases about how the figures were measured. The report puts these phrases after the date."""
    yield "by paragone bench"
    if repeat := count_at(measurement.data, "repeat"):
        yield f"mean ± standard deviation of {counted(repeat, 'run')}"
    tests = (test for _, engine in engines for test in objects_at(engine, "tests"))
    if tokens := count_at(next(tests, {}), "tokens"):
        yield f"{tokens:,} tokens generated in each"


def bench_notes(engines: list[tuple[str, MeasurementJson]]) -> Iterator[tuple[str, Json]]:
    """Yield the texts about engines and tests, each with the name of the engine or the test."""
    for name, engine in engines:
        tests, users = objects_at(engine, "tests"), objects_at(engine, "users")
        skipped = (test.get("skipped") for test in (*tests, *users))
        yield from ((name, text) for text in (*list_at(engine, "warnings"), *skipped, engine.get("error")))
        yield from ((f"{name}, {_test(test)}", text) for test in tests for text in list_at(test, "notes"))
        yield from (
            (f"{name}, {level.get('users')} at once", text)
            for level in users
            for text in list_at(level, "notes")
        )
