"""A measurement of fidelity as a part of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from paragone import Json
from paragone_workbench.experiments.report.content import Chart, Figure, MeasurementView, Remark
from paragone_workbench.experiments.report.parts.charts import bar_chart
from paragone_workbench.experiments.report.public_text import public
from paragone_workbench.experiments.report.words import date_text
from paragone_workbench.statistics.intervals import t_interval
from paragone_workbench.store.experiment_records import Measurement

__all__ = ["fidelity_view"]


def fidelity_view(measurement: Measurement, names: Mapping[str, str]) -> MeasurementView | None:
    """Return a measurement as it is shown; None if it has no figures.

    `names` has the candidates that are shown, by the names that they had, and the names that they have now.
    """
    found = measurement.data.get("candidates")
    rows = [
        (names[str(it.get("engine"))], it)
        for it in (found if isinstance(found, list | tuple) else ())
        if isinstance(it, Mapping) and str(it.get("engine")) in names
    ]
    charts = tuple(_charts(rows, measurement.data.get("noise")))
    if not charts:
        return None
    return MeasurementView(title="Fidelity", charts=charts, remarks=tuple(_remarks(rows, measurement)))


def _charts(rows: list[tuple[str, Mapping[str, Json]]], noise: Json) -> Iterator[Chart]:
    floor = [("noise floor", noise)] if isinstance(noise, Mapping) else []
    if klds := list(_figures(rows, "mean_kld", "nats", 4)):
        yield bar_chart(
            "Mean KL divergence",
            "How far the distributions are from the reference's. Less is better; what is within the noise floor "
            "is no difference.",
            [*klds, *_figures(floor, "mean_kld", "nats", 4)],
        )
    if same := list(_figures(rows, "top1_agreement", "%", 1, error="top1_se", factor=100, largest=100)):
        note = "Share of the positions at which the likeliest token is the reference's."
        yield Chart(title="Same top token", note=note, figures=tuple(same), start=0.0, end=100.0)
    if bits := list(_figures(rows, "bits_per_byte", "", 3)):
        yield bar_chart("Bits per byte", "Of the text. Less is better.", bits)


def _remarks(rows: list[tuple[str, Mapping[str, Json]]], measurement: Measurement) -> Iterator[Remark]:
    data, reference = measurement.data, measurement.engines[0]
    text, tokens = data.get("text"), data.get("tokens_scored")
    about = [
        f"Measured on {date_text(measurement.created)} against {reference.name} "
        f"({reference.backend}:{reference.model})",
        f"over {text if isinstance(text, str) else 'the text that comes with paragone'}",
    ]
    if isinstance(tokens, int):
        about.append(f"with {tokens:,} tokens scored")
    yield Remark(text=public(f"{', '.join(about)}."))
    if data.get("partial"):
        yield Remark(text="Less was measured than was asked for.", stands_out=True)
    for name, row in rows:
        for reason in (row.get("reason"), row.get("error")):
            if isinstance(reason, str):
                yield Remark(text=public(f"{name}: {reason}"))


def _figures(
    rows: Iterable[tuple[str, Mapping[str, Json]]],
    key: str,
    unit: str,
    digits: int,
    *,
    error: str = "",
    factor: float = 1,
    largest: float = math.inf,
) -> Iterator[Figure]:
    """Yield the values of `key`, none of which is negative, with their 95% intervals where these are known."""
    for name, row in rows:
        value, deviation, windows = row.get(key), row.get(error or f"{key}_se"), row.get("windows")
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
