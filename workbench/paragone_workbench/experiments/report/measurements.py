"""Earlier measurements of a report's engines, from the history."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from paragone import Backend, InputError, Json
from paragone_workbench.engines.definitions import EngineDefinition, split_options
from paragone_workbench.experiments.report.charts import bar_chart
from paragone_workbench.experiments.report.content import Chart, Figure, MeasurementView, Remark
from paragone_workbench.experiments.report.public_text import public
from paragone_workbench.experiments.report.words import date_text
from paragone_workbench.store.experiment_records import Measurement
from paragone_workbench.store.store import Store

__all__ = ["measurements_of"]

Find = Callable[[str], Backend | None]


def measurements_of(
    store: Store, engines: Sequence[EngineDefinition], find: Find
) -> tuple[MeasurementView, ...]:
    """Return the newest measurement of fidelity of each engine that was a candidate in one.

    An engine is the same if its backend, its model and its load options are.
    """
    wanted = {_identity(engine, find): engine.name for engine in engines}
    measured: set[str] = set()
    views: list[MeasurementView] = []
    for measurement in store.measurements.all("fidelity"):
        _, *candidates = measurement.engines
        names = {
            candidate.name: wanted[identity]
            for candidate in candidates
            if (identity := _identity(candidate, find)) in wanted and wanted[identity] not in measured
        }
        if names and (view := _fidelity(measurement, names)) is not None:
            measured |= set(names.values())
            views.append(view)
    return tuple(views)


def _identity(engine: EngineDefinition, find: Find) -> str:
    """Return what an engine has in common with others that compute the same distributions."""
    backend = find(engine.backend)
    options: Mapping[str, Json] = engine.options
    if backend is not None:
        try:
            options, _ = split_options(engine, backend)
        except InputError:  # an option that this version of the backend does not declare
            options = engine.options
    return json.dumps([engine.backend, engine.model, engine.address, dict(options)], sort_keys=True)


def _fidelity(measurement: Measurement, names: Mapping[str, str]) -> MeasurementView | None:
    """Return a measurement of fidelity. `names` has the report's names of its candidates, by their own."""
    data = measurement.data
    reference = measurement.engines[0]
    rows = [
        (names[str(it.get("engine"))], it)
        for it in _objects(data.get("candidates"))
        if str(it.get("engine")) in names
    ]
    klds = list(_figures(rows, "mean_kld", "nats", 4))
    noise = data.get("noise")
    if klds and isinstance(noise, Mapping):
        klds += _figures([("noise floor", noise)], "mean_kld", "nats", 4)
    charts: list[Chart] = []
    if klds:
        charts.append(
            bar_chart(
                "Mean KL divergence",
                "How far the distributions are from the reference's. Less is better; what is within the noise "
                "floor is no difference.",
                klds,
            )
        )
    same = list(_figures(rows, "top1_agreement", "%", 1, error="top1_se", factor=100))
    if same:
        charts.append(
            Chart(
                title="Same top token",
                note="Share of the positions at which the likeliest token is the reference's.",
                figures=tuple(same),
                start=0.0,
                end=100.0,
            )
        )
    bits = list(_figures(rows, "bits_per_byte", "", 3))
    if bits:
        charts.append(bar_chart("Bits per byte", "Of the text. Less is better.", bits))
    if not charts:
        return None
    text = data.get("text")
    tokens = data.get("tokens_scored")
    about = [
        f"Measured on {date_text(measurement.created)} against {reference.name} ({reference.backend}:{reference.model})",
        f"over {text if isinstance(text, str) else 'the text that comes with paragone'}",
        f"with {tokens:,} tokens scored" if isinstance(tokens, int) else "",
    ]
    remarks = [Remark(text=public(f"{', '.join(filter(None, about))}."))]
    if data.get("partial"):
        remarks.append(
            Remark(text="The measurement was stopped before the end of the text.", stands_out=True)
        )
    remarks += [
        Remark(text=public(f"{name}: {it[key]}"))
        for name, it in rows
        for key in ("reason", "error")
        if isinstance(it.get(key), str)
    ]
    return MeasurementView(title="Fidelity", charts=tuple(charts), remarks=tuple(remarks))


def _figures(
    rows: Iterable[tuple[str, Mapping[str, Json]]],
    key: str,
    unit: str,
    digits: int,
    *,
    error: str = "",
    factor: float = 1,
) -> Iterator[Figure]:
    """Yield the values of `key` with their 95% intervals, of the rows that have one."""
    for name, row in rows:
        value, spread = row.get(key), row.get(error or f"{key}_se")
        if not isinstance(value, int | float):
            continue
        reach = 1.96 * factor * spread if isinstance(spread, int | float) and spread else None
        value *= factor
        space = "" if unit in ("%", "") else " "
        yield Figure(
            name=public(name),
            value=value,
            low=None if reach is None else max(0.0, value - reach),
            high=None if reach is None else value + reach,
            text=f"{value:.{digits}f}{space}{unit}",
            interval=""
            if reach is None
            else f"{max(0.0, value - reach):.{digits}f} to {value + reach:.{digits}f}",
        )


def _objects(value: Json) -> list[Mapping[str, Json]]:
    items = value if isinstance(value, list | tuple) else ()
    return [it for it in items if isinstance(it, Mapping)]
