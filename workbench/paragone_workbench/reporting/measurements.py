"""Earlier measurements of a report's engines by `paragone bench` and `paragone fidelity`, from the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from paragone.json_values import text_at
from paragone_workbench.blocks import Remark, Section, date_text, public
from paragone_workbench.experiments.known_measurements import SavedMeasurements, names_now
from paragone_workbench.measure import sections
from paragone_workbench.store.experiment_records import Measurement


def measurements_of(saved: SavedMeasurements, identities: Mapping[str, str]) -> tuple[Section, ...]:
    """Return sections with the newest measurement of each kind and engine; for the fidelity, of each candidate.

    Engines that differ only in sampling options have the same identity, and share a measurement.
    """
    found: list[Section] = []
    for measured in saved.values():
        shown: set[str] = set()
        for measurement in measured:
            named = names_now(measurement, identities)
            names = {
                engine.name: together
                for engine in measurement.measured
                if (together := ", ".join(named.get(engine.name, ()))) and together not in shown
            }
            if names and (made := list(_sections(measurement, names))):
                shown |= set(names.values())
                found += made
    return tuple(found)


def _sections(measurement: Measurement, names: Mapping[str, str]) -> Iterator[Section]:
    data = measurement.data
    about, of_kind, problems = "by paragone bench", sections.bench_sections, sections.bench_problems
    if measurement.kind == "fidelity":
        reference = measurement.engines[0]
        text = text_at(data, "text") or "the text that comes with paragone"
        about = f"against {reference.name} ({reference.backend}:{reference.model}), over {text}"
        of_kind, problems = sections.fidelity_sections, sections.fidelity_problems
    remarks = [Remark(public(f"Measured on {date_text(measurement.created)} {about}."))]
    if data.get("partial"):
        remarks.append(Remark("The measurement is incomplete.", stands_out=True))
    for number, section in enumerate(of_kind(data, names)):
        begin = (*remarks, *problems(data, names)) if not number else ()
        yield replace(section, folded=True, remarks=(*begin, *section.remarks))
