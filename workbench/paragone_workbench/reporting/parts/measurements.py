"""Earlier measurements of a report's engines, from the history."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from paragone import Json
from paragone.wording import counted
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.reporting.content import Remark, Section
from paragone_workbench.reporting.drawings import Chart, Figure
from paragone_workbench.reporting.parts.charts import bar_chart
from paragone_workbench.reporting.parts.known_measurements import Find, identity_of, objects
from paragone_workbench.reporting.parts.throughput import throughput_table
from paragone_workbench.reporting.public_text import date_text, public
from paragone_workbench.statistics.intervals import t_interval
from paragone_workbench.store.experiment_records import Measurement, MeasurementKind
from paragone_workbench.store.store import Store

Measured: TypeAlias = tuple[str, Mapping[str, Json]]
"""The name of an engine, and what was measured of it."""

_BENCH_CHARTS = (
    ("prefill_tps", "Prefill", "Tokens of the prompt processed per second. More is better.", "tokens/s", 1),
    ("decode_tps", "Decode rate", "Tokens generated per second after the first. More is better.", "tokens/s", 1),
    ("ttft_s", "TTFT", "Time to first token. Less is better.", "ms", 1000),
    ("decode_j_per_token", "Energy", "For each generated token. Less is better.", "J", 1),
)  # fmt: skip
"""The figures that are shown: name in the JSON, title, note, unit, and what a value is multiplied by."""


def measurements_of(store: Store, engines: Sequence[EngineDefinition], find: Find) -> tuple[Section, ...]:
    """Return the newest measurement of each kind and engine. The reference of a fidelity is not one of its engines.

    An engine is the same if its backend, its model and its load options are. Several of the report's engines can be
    the same, with other sampling options: they are named together.
    """
    wanted: dict[str, str] = {}
    for engine in engines:
        identity = identity_of(engine, find)
        wanted[identity] = f"{wanted[identity]}, {engine.name}" if identity in wanted else engine.name
    return tuple(section for kind in _VIEWS for section in _newest(store, kind, wanted, find))


def _newest(store: Store, kind: MeasurementKind, wanted: Mapping[str, str], find: Find) -> Iterator[Section]:
    """Yield the newest measurement of each engine in `wanted`, which maps the identity of an engine to its name."""
    shown: set[str] = set()
    for measurement in store.measurements.all(kind):
        names = {
            engine.name: wanted[identity]
            for engine in measurement.measured
            if (identity := identity_of(engine, find)) in wanted and wanted[identity] not in shown
        }
        if names and (section := _section(measurement, names)) is not None:
            shown |= set(names.values())
            yield section


def _section(measurement: Measurement, names: Mapping[str, str]) -> Section | None:
    """Return a measurement as it is shown; None if it has no figures.

    `names` has the engines that are shown, by the names that they had, and the names that they have now.
    """
    view = _VIEWS[measurement.kind]
    engines = [
        (names[str(engine.get("engine"))], engine)
        for engine in objects(measurement.data.get(view.engines))
        if str(engine.get("engine")) in names
    ]
    charts = tuple(view.charts(engines, measurement))
    throughput = throughput_table(engines)
    tables = () if throughput is None else (throughput,)
    if not (charts or tables):
        return None
    about = ", ".join(view.about(engines, measurement))
    remarks = [Remark(text=public(f"Measured on {date_text(measurement.created)} {about}."))]
    if measurement.data.get("partial"):
        remarks.append(Remark(text="Less was measured than was asked for.", stands_out=True))
    remarks += [
        Remark(text=public(f"{subject}: {text}"))
        for subject, text in dict.fromkeys(note for note in view.notes(engines) if isinstance(note[1], str))
    ]
    remarks += _free_running(measurement, names)
    return Section(title=view.title, tables=tables, charts=charts, remarks=tuple(remarks))


def _list(found: Json) -> list[Json]:
    return list(found) if isinstance(found, list | tuple) else []


# Fidelity


def _fidelity_charts(engines: list[Measured], measurement: Measurement) -> Iterator[Chart]:
    noise = measurement.data.get("noise")
    floor = [("noise floor", noise)] if isinstance(noise, Mapping) else []
    if klds := list(_figures(engines, "mean_kld", "nats", 4)):
        yield bar_chart(
            "Mean KL divergence",
            "How far the distributions are from the reference's. Less is better; what is within the noise floor "
            "is no difference.",
            [*klds, *_figures(floor, "mean_kld", "nats", 4)],
        )
    if same := list(_figures(engines, "top1_agreement", "%", 1, error="top1_se", factor=100, largest=100)):
        note = "Share of the positions at which the likeliest token is the reference's."
        yield Chart(title="Same top token", note=note, figures=tuple(same), start=0.0, end=100.0)
    if bits := list(_figures(engines, "bits_per_byte", "", 3)):
        yield bar_chart("Bits per byte", "Of the text. Less is better.", bits)


def _figures(
    engines: Iterable[Measured],
    key: str,
    unit: str,
    digits: int,
    *,
    error: str = "",
    factor: float = 1,
    largest: float = math.inf,
) -> Iterator[Figure]:
    """Yield the values of `key`, none of which is negative, with their 95% intervals where these are known."""
    for name, engine in engines:
        value, deviation, windows = engine.get(key), engine.get(error or f"{key}_se"), engine.get("windows")
        if not isinstance(value, int | float):
            continue
        value *= factor
        text = f"{value:.{digits}f}{'' if unit in ('%', '') else ' '}{unit}"
        if not isinstance(deviation, int | float) or not deviation or not isinstance(windows, int):
            yield Figure(name=public(name), value=value, text=text)
            continue
        interval = t_interval(value, factor * deviation, windows)
        low, high = max(0.0, interval.low), min(interval.high, largest)
        yield Figure(
            name=public(name),
            value=value,
            low=low,
            high=high,
            text=text,
            interval=f"{low:.{digits}f} to {high:.{digits}f}",
        )


def _about_fidelity(engines: list[Measured], measurement: Measurement) -> Iterator[str]:
    reference = measurement.engines[0]
    text, tokens = measurement.data.get("text"), measurement.data.get("tokens_scored")
    yield f"against {reference.name} ({reference.backend}:{reference.model})"
    yield f"over {text if isinstance(text, str) else 'the text that comes with paragone'}"
    if isinstance(tokens, int):
        yield f"with {tokens:,} tokens scored"


def _free_running(measurement: Measurement, names: Collection[str]) -> Iterator[Remark]:
    """Yield what became of the answers of the candidates where each went on by itself."""
    found = measurement.data.get("free_running")
    for item in objects(found.get("candidates")) if isinstance(found, Mapping) else ():
        sentence = item.get("sentence")
        if item.get("candidate") in names and isinstance(sentence, str):
            yield Remark(text=public(sentence), stands_out=item.get("collapsed") is True)


def _fidelity_notes(engines: list[Measured]) -> Iterator[tuple[str, Json]]:
    for name, engine in engines:
        yield from ((name, engine.get(key)) for key in ("reason", "error"))


# Bench


def _bench_charts(engines: list[Measured], measurement: Measurement) -> Iterator[Chart]:
    tests = [[(name, test) for test in objects(engine.get("tests"))] for name, engine in engines]
    measured = [row for test in zip(*tests, strict=False) for row in test]
    for key, title, note, unit, factor in _BENCH_CHARTS:
        found = (_bench_figure(name, test, key, unit, factor) for name, test in measured)
        if figures := [figure for figure in found if figure is not None]:
            yield bar_chart(title, note, figures)


def _bench_figure(name: str, test: Mapping[str, Json], key: str, unit: str, factor: float) -> Figure | None:
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


def _about_bench(engines: list[Measured], measurement: Measurement) -> Iterator[str]:
    yield "by paragone bench"
    if isinstance(repeat := measurement.data.get("repeat"), int):
        yield f"mean ± standard deviation of {counted(repeat, 'run')}"
    tests = (test for _, engine in engines for test in objects(engine.get("tests")))
    if isinstance(tokens := next(tests, {}).get("tokens"), int):
        yield f"{tokens:,} tokens generated in each"


def _bench_notes(engines: list[Measured]) -> Iterator[tuple[str, Json]]:
    for name, engine in engines:
        tests, users = objects(engine.get("tests")), objects(engine.get("users"))
        skipped = (test.get("skipped") for test in (*tests, *users))
        yield from ((name, text) for text in (*_list(engine.get("warnings")), *skipped, engine.get("error")))
        yield from ((f"{name}, {_test(test)}", text) for test in tests for text in _list(test.get("notes")))
        yield from (
            (f"{name}, {level.get('users')} at once", text)
            for level in users
            for text in _list(level.get("notes"))
        )


class _View(NamedTuple):
    """How measurements of a kind are shown."""

    title: str
    engines: str
    """The name of the list of engines in the JSON."""
    charts: Callable[[list[Measured], Measurement], Iterator[Chart]]
    about: Callable[[list[Measured], Measurement], Iterator[str]]
    """Yields what the figures are, after the date."""
    notes: Callable[[list[Measured]], Iterator[tuple[str, Json]]]
    """Yields the name of an engine or of a test, and a text about it; a value that is not a text is not shown."""


_VIEWS: Mapping[MeasurementKind, _View] = {
    "fidelity": _View("Fidelity", "candidates", _fidelity_charts, _about_fidelity, _fidelity_notes),
    "bench": _View("Bench", "engines", _bench_charts, _about_bench, _bench_notes),
}
