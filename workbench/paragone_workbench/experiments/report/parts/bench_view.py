"""A measurement of speed by `paragone bench` as a part of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paragone import Json
from paragone.wording import counted
from paragone_workbench.experiments.report.content import Chart, Figure, MeasurementView, Remark
from paragone_workbench.experiments.report.parts.charts import bar_chart
from paragone_workbench.experiments.report.public_text import public
from paragone_workbench.experiments.report.words import date_text
from paragone_workbench.store.experiment_records import Measurement

__all__ = ["bench_view"]

Row = tuple[str, Mapping[str, Json]]
"""The name of an engine, and what was measured of it in one test."""

_CHARTS = (
    ("prefill_tps", "Prefill", "Tokens of the prompt processed per second. More is better.", "tokens/s", 1),
    ("decode_tps", "Decode rate", "Tokens generated per second after the first. More is better.", "tokens/s", 1),
    ("ttft_s", "TTFT", "Time to first token. Less is better.", "ms", 1000),
    ("decode_j_per_token", "Energy", "For each generated token. Less is better.", "J", 1),
)  # fmt: skip
"""The figures that are shown: name in the JSON, title, note, unit, and what a value is multiplied by."""


def bench_view(measurement: Measurement, names: Mapping[str, str]) -> MeasurementView | None:
    """Return a measurement as it is shown; None if it has no figures.

    `names` has the engines that are shown, by the names that they had, and the names that they have now.
    """
    engines = [
        (names[str(it.get("engine"))], it)
        for it in _objects(measurement.data.get("engines"))
        if str(it.get("engine")) in names
    ]
    tests = [[(name, test) for test in _objects(engine.get("tests"))] for name, engine in engines]
    rows = [row for test in zip(*tests, strict=False) for row in test]
    charts = tuple(_charts(rows))
    if not charts:
        return None
    return MeasurementView(title="Bench", charts=charts, remarks=tuple(_remarks(engines, measurement)))


def _charts(rows: list[Row]) -> Iterator[Chart]:
    for key, title, note, unit, factor in _CHARTS:
        figures = [it for name, test in rows if (it := _figure(name, test, key, unit, factor)) is not None]
        if figures:
            yield bar_chart(title, note, figures)


def _figure(name: str, test: Mapping[str, Json], key: str, unit: str, factor: float) -> Figure | None:
    """Return a mean with its standard deviation; None if it is unknown."""
    spread = test.get(key)
    if not isinstance(spread, Mapping):
        return None
    mean, deviation = spread.get("mean"), spread.get("stdev")
    if not isinstance(mean, int | float) or not isinstance(deviation, int | float):
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
    """Return what an engine had to do: `prompt 512, depth 2,048`."""
    prompt, depth = test.get("prompt_tokens"), test.get("depth")
    text = f"prompt {prompt:,}" if isinstance(prompt, int) else ""
    return f"{text}, depth {depth:,}" if isinstance(depth, int) and depth else text


def _remarks(engines: list[Row], measurement: Measurement) -> Iterator[Remark]:
    data = measurement.data
    about = [f"Measured on {date_text(measurement.created)} by paragone bench"]
    if isinstance(repeat := data.get("repeat"), int):
        about.append(f"mean ± standard deviation of {counted(repeat, 'run')}")
    if isinstance(tokens := _generated(engines), int):
        about.append(f"{tokens:,} tokens generated in each")
    yield Remark(text=f"{', '.join(about)}.")
    if data.get("partial"):
        yield Remark(text="Less was measured than was asked for.", stands_out=True)
    for name, engine in engines:
        tests = _objects(engine.get("tests"))
        skipped = [it.get("skipped") for it in tests]
        notes = [(f"{name}, {_test(it)}", note) for it in tests for note in _list(it.get("notes"))]
        found = [
            *((name, it) for it in (*_list(engine.get("warnings")), *skipped, engine.get("error"))),
            *notes,
        ]
        for subject, text in dict.fromkeys(found):
            if isinstance(text, str):
                yield Remark(text=public(f"{subject}: {text}"))


def _generated(engines: list[Row]) -> Json:
    return next((test.get("tokens") for _, engine in engines for test in _objects(engine.get("tests"))), None)


def _objects(found: Json) -> list[Mapping[str, Json]]:
    return [it for it in _list(found) if isinstance(it, Mapping)]


def _list(found: Json) -> list[Json]:
    return list(found) if isinstance(found, list | tuple) else []
