"""Earlier measurements of a report's engines, from the history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from paragone import Json
from paragone.json_fields import objects_at
from paragone_workbench.experiments.known_measurements import MeasurementJson, names_now
from paragone_workbench.reporting.content import Remark, Section
from paragone_workbench.reporting.drawings import Chart, Table
from paragone_workbench.reporting.parts.bench import about_bench, bench_charts, bench_notes
from paragone_workbench.reporting.parts.fidelity import (
    about_fidelity,
    fidelity_charts,
    fidelity_findings,
    fidelity_notes,
)
from paragone_workbench.reporting.parts.throughput import throughput_tables
from paragone_workbench.reporting.public_text import date_text, public
from paragone_workbench.store.experiment_records import Measurement, MeasurementKind
from paragone_workbench.store.store import Store

SavedMeasurements: TypeAlias = Mapping[MeasurementKind, Sequence[Measurement]]
"""The measurements in the history by their kind, the newest first."""


def saved_measurements(store: Store) -> SavedMeasurements:
    """Return all measurements in the history, which a report reads once."""
    return {kind: store.measurements.all(kind) for kind in _VIEWS}


def measurements_of(saved: SavedMeasurements, identities: Mapping[str, str]) -> tuple[Section, ...]:
    """Return the newest measurement of each kind and engine. A measurement of fidelity is one of its candidates, not of its reference.

    `identities` has the identity of each engine by its name. Engines of the report that differ in sampling options only
    have the same identity, and share a measurement.
    """
    return tuple(section for measured in saved.values() for section in _newest(measured, identities))


def _newest(measured: Iterable[Measurement], identities: Mapping[str, str]) -> Iterator[Section]:
    """Yield the newest measurement of each engine."""
    shown: set[str] = set()
    for measurement in measured:
        named = names_now(measurement, identities)
        names = {
            engine.name: together
            for engine in measurement.measured
            if (together := ", ".join(named.get(engine.name, ()))) and together not in shown
        }
        if names and (section := _section(measurement, names)) is not None:
            shown |= set(names.values())
            yield section


def _section(measurement: Measurement, names: Mapping[str, str]) -> Section | None:
    """Return the section of a measurement; None if the measurement has no figures.

    `names` maps the name that each shown engine had in the measurement to its present name.
    """
    view = _VIEWS[measurement.kind]
    engines = [
        (names[str(engine.get("engine"))], engine)
        for engine in objects_at(measurement.data, view.engines)
        if str(engine.get("engine")) in names
    ]
    charts = tuple(view.charts(engines, measurement))
    tables = tuple(view.tables(engines))
    if not (charts or tables):
        return None
    about = ", ".join(view.about(engines, measurement))
    remarks = [Remark(text=public(f"Measured on {date_text(measurement.created)} {about}."))]
    if measurement.data.get("partial"):
        remarks.append(Remark(text="The measurement is incomplete.", stands_out=True))
    remarks += [
        Remark(text=public(f"{subject}: {text}"))
        for subject, text in dict.fromkeys(note for note in view.notes(engines) if isinstance(note[1], str))
    ]
    remarks += view.findings(engines, measurement)
    return Section(title=view.title, tables=tables, charts=charts, remarks=tuple(remarks), folded=True)


class _View(NamedTuple):
    """How measurements of a kind are shown."""

    title: str
    engines: str
    """The name of the list of engines in the JSON."""
    charts: Callable[[list[tuple[str, MeasurementJson]], Measurement], Iterator[Chart]]
    tables: Callable[[list[tuple[str, MeasurementJson]]], Iterable[Table]]
    findings: Callable[[list[tuple[str, MeasurementJson]], Measurement], Iterable[Remark]]
    """Yields sentences about the results."""
    about: Callable[[list[tuple[str, MeasurementJson]], Measurement], Iterator[str]]
    """Yields phrases about how the figures were measured. The report puts these phrases after the date."""
    notes: Callable[[list[tuple[str, MeasurementJson]]], Iterator[tuple[str, Json]]]
    """Yields the name of an engine or of a test, and a text about it; a value that is not a text is not shown."""


_VIEWS: Mapping[MeasurementKind, _View] = {
    "fidelity": _View(
        title="Fidelity",
        engines="candidates",
        charts=fidelity_charts,
        tables=lambda engines: (),
        findings=fidelity_findings,
        about=about_fidelity,
        notes=fidelity_notes,
    ),
    "bench": _View(
        title="Bench",
        engines="engines",
        charts=bench_charts,
        tables=throughput_tables,
        findings=lambda engines, measurement: (),
        about=about_bench,
        notes=bench_notes,
    ),
}
