"""The first table of a report, with a row for each engine, and the cautions for a reader who compares its figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from paragone import LoadedModel
from paragone.json_values import count_at, number_at
from paragone.texts import counted, size_text
from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.experiments.known_measurements import MeasurementJson
from paragone_workbench.measure.fidelity_verdict import band_of
from paragone_workbench.reporting.charts import pass_rate_cell
from paragone_workbench.reporting.content import Table, TableCell, TableLine, public
from paragone_workbench.statistics import number
from paragone_workbench.text import local_date


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
    marks = _dates(speeds), _dates(users), _windows(fidelities)
    return Cautions((*_sentences(*marks), *filter(None, map(_divided, loaded, loaded.values()))), *marks)


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


def overview_of(
    figures: Sequence[EngineFigures],
    *,
    reference: str | None = None,
    chosen: str | None = None,
    benched: bool = False,
    throughput: tuple[int, Mapping[str, MeasurementJson]] = (0, {}),
    cautions: Cautions = Cautions(),  # noqa: B008 (immutable)
) -> Table:
    """Return the table.

    `benched` says whether the speeds are those of `paragone bench`, not of the answers. `throughput` has a number of users, and
    the measurement of each engine with this number of users. `cautions` has the marks that follow figures.
    """
    users = counted(throughput[0], "user")

    def cells(engine: EngineFigures) -> dict[str, TableCell]:
        """Return the cells by their columns; a cell is empty if its value is unknown."""
        name, context = engine.engine, f"at {engine.context:,}" if engine.context else ""
        rate = number_at(throughput[1], name, "tokens_per_s")
        return {
            "size": TableCell(size_text(engine.size)),
            "memory": _cell(size_text(engine.memory), context),
            "pass rate": TableCell()
            if engine.pass_rate is None
            else pass_rate_cell(engine.pass_rate, engine.prompts),
            "KLD": _kld(engine, reference, cautions.fidelities.get(name, "")),
            "speed": _cell(_shown(engine.decode_tps, "{:,.1f}/s"), cautions.speeds.get(name, "")),
            users: _cell(_shown(rate, "{:,.1f}/s"), cautions.users.get(name, "")),
            "TTFT": TableCell(_shown(engine.ttft_s, "{:.2f} s")),
        }

    rows = [cells(engine) for engine in figures]
    columns = (
        [column for column in cells(figures[0]) if any(row[column].text for row in rows)] if rows else []
    )
    if not any(engine.kld for engine in figures):
        columns = [column for column in columns if column != "KLD"]
    lengths = sorted({engine.ttft_prompt for engine in figures if engine.ttft_prompt is not None})
    prompt = f" with a prompt of {lengths[0]:,} tokens" if len(lengths) == 1 else ""
    measured = f"measured by paragone bench{prompt}" if benched else "means over the answers"
    notes = {
        "memory": "Memory is estimated for a context of this many tokens.",
        "KLD": f"KLD is the mean divergence from {public(reference or '')}.",
        "speed": f"Speed, in tokens per second, and TTFT are {measured}.",
        users: f"With {users} at once, the speed is the sum over the users.",
    }
    return Table(
        columns=tuple(columns),
        lines=tuple(
            TableLine(
                name=public(engine.engine),
                note="reference" if engine.engine == reference else "",
                cells=tuple(row[column] for column in columns),
                stands_out=engine.engine == chosen,
            )
            for engine, row in zip(figures, rows, strict=True)
        ),
        note=" ".join(notes[column] for column in columns if column in notes),
    )


def _kld(engine: EngineFigures, reference: str | None, mark: str) -> TableCell:
    if engine.engine == reference:
        return TableCell("0")
    if engine.kld is None:
        return TableCell()
    value, _, error = number(engine.kld).partition(" ± ")
    details = (band_of(engine.kld.value), error and f"± {error}", mark)
    return TableCell(value, ", ".join(filter(None, details)))


def _cell(text: str, detail: str) -> TableCell:
    return TableCell(text, detail if text else "")


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
