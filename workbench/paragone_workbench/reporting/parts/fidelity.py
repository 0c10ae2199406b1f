"""An earlier measurement of the fidelity, as a part of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from paragone import Json
from paragone.json_fields import count_at, number_at, object_at, objects_at, text_at
from paragone_workbench.experiments.known_measurements import MeasurementJson
from paragone_workbench.measure.fidelity.scale import band_of, scale_text
from paragone_workbench.reporting.content import Remark
from paragone_workbench.reporting.drawings import Chart, Figure
from paragone_workbench.reporting.parts.charts import bar_chart
from paragone_workbench.reporting.public_text import public
from paragone_workbench.statistics.intervals import t_interval
from paragone_workbench.store.experiment_records import Measurement


def fidelity_charts(engines: list[tuple[str, MeasurementJson]], measurement: Measurement) -> Iterator[Chart]:
    """Yield a chart of each figure that a candidate has."""
    floor = [("noise floor", object_at(measurement.data, "noise"))]
    if klds := [_on_scale(figure) for figure in _figures(engines, "mean_kld", "nats", 4)]:
        yield bar_chart(
            "Mean KL divergence",
            "How far the distributions are from the reference's. Less is better; a value within the noise floor "
            f"is no difference. Scale: {scale_text()}.",
            [*klds, *_figures(floor, "mean_kld", "nats", 4)],
        )
    if same := list(_figures(engines, "top1_agreement", "%", 1, error="top1_se", factor=100, largest=100)):
        note = "Share of the positions at which the likeliest token is the reference's."
        yield Chart(title="Same top token", note=note, figures=tuple(same), start=0.0, end=100.0)
    if bits := list(_figures(engines, "bits_per_byte", "", 3)):
        yield bar_chart("Bits per byte", "Log-loss of the text. Less is better.", bits)


def _on_scale(kld: Figure) -> Figure:
    """Return a mean KL divergence with the name of its band."""
    return replace(kld, text=f"{kld.text}, {band_of(kld.value)}")


def _figures(
    engines: Iterable[tuple[str, MeasurementJson]],
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
        value, deviation = number_at(engine, key), number_at(engine, error or f"{key}_se")
        windows = count_at(engine, "windows")
        if value is None:
            continue
        value *= factor
        text = f"{value:.{digits}f}{'' if unit in ('%', '') else ' '}{unit}"
        figure = Figure(name=public(name), value=value, text=text)
        if deviation and windows is not None:
            interval = t_interval(value, factor * deviation, windows)
            low, high = max(0.0, interval.low), min(interval.high, largest)
            figure = replace(figure, low=low, high=high, interval=f"{low:.{digits}f} to {high:.{digits}f}")
        yield figure


def about_fidelity(measurement: Measurement) -> Iterator[str]:
    """Yield phrases about how the figures were measured, such as the reference. The report puts these phrases after the date."""
    reference = measurement.engines[0]
    yield f"against {reference.name} ({reference.backend}:{reference.model})"
    yield f"over {text_at(measurement.data, 'text') or 'the text that comes with paragone'}"
    if tokens := count_at(measurement.data, "tokens_scored"):
        yield f"with {tokens:,} tokens scored"


def fidelity_findings(
    engines: list[tuple[str, MeasurementJson]], measurement: Measurement
) -> Iterator[Remark]:
    """Yield remarks: where the divergence grows, which engine is closer, and how free-running answers agree."""
    for name, engine in engines:
        if warning := text_at(engine, "warning"):
            yield Remark(text=public(warning), stands_out=True)
        depth = object_at(engine, "by_depth")
        if depth.get("grows") is True:
            yield Remark(
                text=public(f"{name}: the KLD grows with the depth in the context{_growth(depth)}."),
                stands_out=True,
            )
    measured = {str(engine.get("engine")) for _, engine in engines}
    answers = objects_at(measurement.data, "free_running", "candidates")
    for item, who in (
        *((pair, {str(pair.get("a")), str(pair.get("b"))}) for pair in objects_at(measurement.data, "pairs")),
        *((answer, {str(answer.get("candidate"))}) for answer in answers),
    ):
        if who <= measured and (sentence := text_at(item, "sentence")):
            stands_out = item.get("collapsed") is True or item.get("shown") is True
            yield Remark(text=public(sentence), stands_out=stands_out)


def _growth(depth: Mapping[str, Json]) -> str:
    """Return the divergence in the first and the last part of the context; empty if unknown."""
    parts = objects_at(depth, "parts")
    klds = [number_at(part, "mean_kld") for part in (*parts[:1], *parts[-1:])]
    if len(klds) < 2:
        return ""
    first, last = ("?" if kld is None else f"{kld:.4f}" for kld in klds)
    return f", from {first} after {parts[0].get('first')} tokens to {last} after {parts[-1].get('last')}"


def fidelity_notes(engines: list[tuple[str, MeasurementJson]]) -> Iterator[tuple[str, Json]]:
    """Yield the name of a candidate, and why the candidate has no figures."""
    for name, engine in engines:
        yield from ((name, engine.get(key)) for key in ("reason", "error"))
