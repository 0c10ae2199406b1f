"""Cautions for a reader who compares figures: speeds measured at different times, and fidelities over fewer windows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from paragone import LoadedModel
from paragone.json_fields import count_at
from paragone.wording import counted
from paragone_workbench.dates import local_date
from paragone_workbench.experiments.known_measurements import MeasurementJson
from paragone_workbench.reporting.public_text import public


class Cautions(NamedTuple):
    """The cautions on the first page of a report.

    Attributes:
        sentences: Which figures to read with care, and how to get better ones.
        speeds: The marks of the speeds, by engine: when the speeds were measured.
        users: The marks of the speeds with several users at once, by engine: when the speeds were measured.
        fidelities: The marks of the fidelities, by engine: over how many windows the fidelities were measured.
    """

    sentences: tuple[str, ...] = ()
    speeds: Mapping[str, str] = {}
    users: Mapping[str, str] = {}
    fidelities: Mapping[str, str] = {}


def cautions_of(
    speeds: Mapping[str, MeasurementJson],
    users: Mapping[str, MeasurementJson],
    fidelities: Mapping[str, MeasurementJson],
    loaded: Mapping[str, LoadedModel],
) -> Cautions:
    """Return the cautions. The keys of all arguments are names of engines.

    `loaded` has the models with which the engines answered.
    """
    marks = _dates(speeds), _dates(users)
    windows = _windows(fidelities)
    sentences = (*_sentences(*marks, windows), *filter(None, map(_divided, loaded, loaded.values())))
    return Cautions(sentences, *marks, windows)


def _divided(name: str, model: LoadedModel) -> str:
    """Return a sentence if only a part of a model's layers is known to be on a GPU; else empty."""
    layers = re.fullmatch(r"(\d+) of (\d+)", model.facts.get("layers on a GPU", ""))
    if layers is None or not 0 < int(layers[1]) < int(layers[2]):
        return ""
    return public(
        f"{name} has {layers[1]} of its {layers[2]} layers on a GPU, the others on the CPU: its speeds hold for this "
        "division only."
    )


def _sentences(
    speeds: Mapping[str, str], users: Mapping[str, str], windows: Mapping[str, str]
) -> Iterator[str]:
    for what, marks, command in (
        ("The speeds", speeds, "paragone bench"),
        ("The speeds with users at once", users, "paragone bench --users"),
    ):
        if marks:
            yield (
                f"{what} were measured at different times, which the table names: the machine may have been busier at some "
                f"of them. To compare them, run `{command}` with all engines."
            )
    if windows:
        yield (
            f"The fidelity of {public(', '.join(windows))} was measured over only some windows of the text: compare "
            "the uncertainties, too."
        )


def _dates(found: Mapping[str, MeasurementJson]) -> dict[str, str]:
    """Return the time of each engine's measurement; empty if all were measured together."""
    moments = {name: item.get("created") for name, item in found.items()}
    if len(set(moments.values())) < 2:
        return {}
    return {
        name: local_date(moment, "%Y-%m-%d %H:%M") if isinstance(moment, float | int) else "?"
        for name, moment in moments.items()
    }


def _windows(found: Mapping[str, MeasurementJson]) -> dict[str, str]:
    """Return the number of windows of each candidate that has fewer windows than another, or an incomplete measurement."""
    counts = {name: windows for name, item in found.items() if (windows := count_at(item, "windows"))}
    most = max(counts.values(), default=0)
    return {
        name: counted(windows, "window")
        for name, windows in counts.items()
        if windows < most or found[name].get("partial") is True
    }
