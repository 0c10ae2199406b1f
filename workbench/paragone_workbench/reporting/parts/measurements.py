"""Earlier measurements of a report's engines, from the history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, get_args

from paragone.json_fields import objects_at
from paragone_workbench.experiments.known_measurements import MeasurementJson, names_now
from paragone_workbench.reporting.content import Remark, Section
from paragone_workbench.reporting.drawings import Table
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
    """Return all measurements in the history: called once for a report."""
    return {kind: store.measurements.all(kind) for kind in get_args(MeasurementKind)}


def measurements_of(saved: SavedMeasurements, identities: Mapping[str, str]) -> tuple[Section, ...]:
    """Return sections with the newest measurement of each kind and engine; for the fidelity, of each candidate.

    `identities` has the identity of each engine by its name. Engines of the report that differ only in sampling options
    have the same identity, and share a measurement.
    """
    return tuple(section for measured in saved.values() for section in _newest(measured, identities))


def _newest(measured: Iterable[Measurement], identities: Mapping[str, str]) -> Iterator[Section]:
    """Yield sections with the newest measurement of each engine."""
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
    tables: tuple[Table, ...] = ()
    findings: Iterable[Remark] = ()
    if measurement.kind == "fidelity":
        engines = _shown(objects_at(measurement.data, "candidates"), names)
        title, charts = "Fidelity", tuple(fidelity_charts(engines, measurement))
        about, notes = about_fidelity(measurement), fidelity_notes(engines)
        findings = fidelity_findings(engines, measurement)
    else:
        engines = _shown(objects_at(measurement.data, "engines"), names)
        title, charts = "Bench", tuple(bench_charts(engines))
        about, notes = about_bench(engines, measurement), bench_notes(engines)
        tables = tuple(throughput_tables(engines))
    if not (charts or tables):
        return None
    remarks = [Remark(text=public(f"Measured on {date_text(measurement.created)} {', '.join(about)}."))]
    if measurement.data.get("partial"):
        remarks.append(Remark(text="The measurement is incomplete.", stands_out=True))
    remarks += [
        Remark(text=public(f"{subject}: {text}"))
        for subject, text in dict.fromkeys(note for note in notes if isinstance(note[1], str))
    ]
    remarks += findings
    return Section(title=title, tables=tables, charts=charts, remarks=tuple(remarks), folded=True)


def _shown(
    measured: Iterable[MeasurementJson], names: Mapping[str, str]
) -> list[tuple[str, MeasurementJson]]:
    """Return the figures of the engines that `names` has, each after the engine's present name."""
    named = ((str(engine.get("engine")), engine) for engine in measured)
    return [(names[name], engine) for name, engine in named if name in names]
