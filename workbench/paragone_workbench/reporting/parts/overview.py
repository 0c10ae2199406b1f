"""The first table of a report: a row for each engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from paragone.json_fields import number_at
from paragone.wording import counted, size_text
from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.experiments.known_measurements import MeasurementJson
from paragone_workbench.measure.fidelity.scale import band_of
from paragone_workbench.reporting.drawings import Table, TableCell, TableLine
from paragone_workbench.reporting.parts.cautions import Cautions
from paragone_workbench.reporting.parts.pass_rates import pass_rate_cell
from paragone_workbench.reporting.public_text import public
from paragone_workbench.statistics.estimate import number


class _Column(NamedTuple):
    title: str
    cell: Callable[[EngineFigures], TableCell]
    """Returns an empty cell if the value is unknown."""
    note: str = ""
    """How to read the column, as a sentence."""


def overview_of(
    figures: Sequence[EngineFigures],
    *,
    reference: str | None,
    chosen: str | None,
    benched: bool,
    throughput: tuple[int, Mapping[str, MeasurementJson]] | None = None,
    cautions: Cautions = Cautions(),  # noqa: B008 (immutable)
) -> Table:
    """Return the table.

    `benched` says whether the speeds are those of `paragone bench`, not of the answers. `throughput` has a number of users, and
    the measurement of each engine with this number of users. `cautions` has the marks that follow figures.
    """
    users, rates = throughput or (0, {})
    columns = (
        _Column(
            "speed",
            lambda engine: _marked(_shown(engine.decode_tps, "{:,.1f}/s"), engine, cautions.speeds),
            f"Speed, in tokens per second, and TTFT are {_measured(figures) if benched else 'means over the answers'}.",
        ),
        _Column(
            counted(users, "user"),
            lambda engine: _marked(
                _shown(number_at(rates, engine.engine, "tokens_per_s"), "{:,.1f}/s"), engine, cautions.users
            ),
            f"With {counted(users, 'user')} at once, the speed is the sum over the users.",
        ),
        _Column("TTFT", lambda engine: _shown(engine.ttft_s, "{:.2f} s")),
    )
    quality: tuple[_Column, ...] = (
        _Column("size", lambda engine: TableCell(text=size_text(engine.size))),
        _Column("memory", _memory, "Memory is estimated for a context of this many tokens."),
        _Column("pass rate", _pass_rate),
    )
    if any(engine.kld for engine in figures):
        kld = _Column(
            "KLD",
            lambda engine: _marked(_kld(engine, reference), engine, cautions.fidelities),
            f"KLD is the mean divergence from {public(reference or '')}.",
        )
        quality += (kld,)
    shown = [column for column in (*quality, *columns) if any(column.cell(engine).text for engine in figures)]
    return Table(
        first="engine",
        columns=tuple(column.title for column in shown),
        lines=tuple(
            TableLine(
                name=public(engine.engine),
                note="reference" if engine.engine == reference else "",
                cells=tuple(column.cell(engine) for column in shown),
                stands_out=engine.engine == chosen,
            )
            for engine in figures
        ),
        note=" ".join(column.note for column in shown if column.note),
    )


def _marked(cell: TableCell, engine: EngineFigures, marks: Mapping[str, str]) -> TableCell:
    """Return a cell with the mark of its engine; unchanged if the cell is empty."""
    mark = marks.get(engine.engine)
    if not mark or not cell.text:
        return cell
    return TableCell(text=cell.text, detail=f"{cell.detail}, {mark}" if cell.detail else mark)


def _pass_rate(engine: EngineFigures) -> TableCell:
    return pass_rate_cell(engine.pass_rate, engine.prompts) if engine.pass_rate is not None else TableCell()


def _memory(engine: EngineFigures) -> TableCell:
    if engine.memory is None:
        return TableCell()
    return TableCell(text=size_text(engine.memory), detail=f"at {engine.context:,}" if engine.context else "")


def _kld(engine: EngineFigures, reference: str | None) -> TableCell:
    if engine.engine == reference:
        return TableCell(text="0")
    if engine.kld is None:
        return TableCell()
    value, _, error = number(engine.kld).partition(" ± ")
    band = band_of(engine.kld.value)
    return TableCell(text=value, detail=f"{band}, ± {error}" if error else band)


def _shown(value: float | None, form: str) -> TableCell:
    return TableCell(text="" if value is None else form.format(value))


def _measured(figures: Sequence[EngineFigures]) -> str:
    """Return how the speeds were measured, with the length of the prompt."""
    lengths = sorted({engine.ttft_prompt for engine in figures if engine.ttft_prompt is not None})
    prompt = f" with a prompt of {lengths[0]:,} tokens" if len(lengths) == 1 else ""
    return f"measured by paragone bench{prompt}"
