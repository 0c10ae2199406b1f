"""Earlier measurements of a report's engines by `paragone bench` and `paragone fidelity`, from the history."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from paragone import Json
from paragone.json_values import count_at, list_at, number_at, object_at, objects_at, text_at
from paragone.texts import counted
from paragone_workbench import blocks
from paragone_workbench.experiments.known_measurements import MeasurementJson, SavedMeasurements, names_now
from paragone_workbench.measure.fidelity_verdict import band_of, scale_text
from paragone_workbench.statistics import t_interval
from paragone_workbench.store.experiment_records import Measurement

_Named: TypeAlias = Sequence[tuple[str, MeasurementJson]]

_BENCH_CHARTS = (
    ("prefill_tps", "Prefill", "Tokens of the prompt processed per second. More is better.", "tokens/s", 1),
    ("decode_tps", "Decode rate", "Tokens generated per second after the first. More is better.", "tokens/s", 1),
    ("ttft_s", "TTFT", "Time to first token. Less is better.", "ms", 1000),
)  # fmt: skip
"""The figures that are shown: name in the JSON, title, note, unit, and the factor from the JSON's unit to the shown unit."""

_USERS_COLUMNS = ("tokens/s in all", "for each user", "TTFT", "time a token", "from token to token")
_USERS_NOTE = (
    "Each user sends the next request as soon as there is an answer. Times are medians, with the 95th and the 99th percentile below "
    "each; the speed for each user is a mean, with its standard deviation."
)


def measurements_of(saved: SavedMeasurements, identities: Mapping[str, str]) -> tuple[blocks.Section, ...]:
    """Return sections with the newest measurement of each kind and engine; for the fidelity, of each candidate.

    Engines that differ only in sampling options have the same identity, and share a measurement.
    """
    sections = []
    for measured in saved.values():
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
                sections.append(section)
    return tuple(sections)


def _section(measurement: Measurement, names: Mapping[str, str]) -> blocks.Section | None:
    """Return the section of a measurement; None without figures. `names` has the engines' present names by the former."""
    is_fidelity = measurement.kind == "fidelity"
    figures = objects_at(measurement.data, "candidates" if is_fidelity else "engines")
    named = ((str(engine.get("engine")), engine) for engine in figures)
    engines = [(names[name], engine) for name, engine in named if name in names]
    if is_fidelity:
        tables = tuple(_fidelity_charts(engines, measurement))
        about = _about_fidelity(measurement)
        notes: Iterable[tuple[str, Json]] = (
            (name, engine.get(key)) for name, engine in engines for key in ("reason", "error")
        )
    else:
        tables = (*_users_tables(engines), *_bench_charts(engines))
        about, notes = _about_bench(engines, measurement), _bench_notes(engines)
    if not tables:
        return None
    remarks = [
        blocks.Remark(
            blocks.public(f"Measured on {blocks.date_text(measurement.created)} {', '.join(about)}.")
        )
    ]
    if measurement.data.get("partial"):
        remarks.append(blocks.Remark("The measurement is incomplete.", stands_out=True))
    remarks += [
        blocks.Remark(blocks.public(f"{subject}: {text}"))
        for subject, text in dict.fromkeys(note for note in notes if isinstance(note[1], str))
    ]
    if is_fidelity:
        remarks += _fidelity_findings(engines, measurement)
    return blocks.Section(
        title=measurement.kind.capitalize(), tables=tables, remarks=tuple(remarks), folded=True
    )


# Bench


def _bench_charts(engines: _Named) -> Iterator[blocks.Table]:
    tests = [[(name, test) for test in objects_at(engine, "tests")] for name, engine in engines]
    measured = [row for test in zip(*tests, strict=False) for row in test]
    for key, title, note, unit, factor in _BENCH_CHARTS:
        figures = []
        for name, test in measured:
            mean, deviation = number_at(test, key, "mean"), number_at(test, key, "stdev")
            if mean is None or deviation is None:
                continue
            mean, deviation = factor * mean, factor * deviation
            digits = 0 if mean >= 100 else 1 if mean >= 10 else 2 if mean >= 1 else 3
            text = f"{mean:,.{digits}f} ± {deviation:,.{digits}f} {unit}"
            ends = (max(0.0, mean - deviation), mean + deviation) if deviation else None
            figures.append(blocks.Figure(name, mean, text, ends, sample=_test(test)))
        if figures:
            yield blocks.chart(title, note, figures)


def _test(test: Mapping[str, Json]) -> str:
    """Return the sizes of a test, such as `prompt 512, depth 2,048`, in tokens."""
    prompt, depth = count_at(test, "prompt_tokens"), count_at(test, "depth")
    text = "" if prompt is None else f"prompt {prompt:,}"
    return f"{text}, depth {depth:,}" if depth else text


def _about_bench(engines: _Named, measurement: Measurement) -> Iterator[str]:
    yield "by paragone bench"
    if repeat := count_at(measurement.data, "repeat"):
        yield f"mean ± standard deviation of {counted(repeat, 'run')}"
    tests = (test for _, engine in engines for test in objects_at(engine, "tests"))
    if tokens := count_at(next(tests, {}), "tokens"):
        yield f"{tokens:,} tokens generated in each"


def _bench_notes(engines: _Named) -> Iterator[tuple[str, Json]]:
    for name, engine in engines:
        tests, users = objects_at(engine, "tests"), objects_at(engine, "users")
        skipped = (test.get("skipped") for test in (*tests, *users))
        yield from ((name, text) for text in (*list_at(engine, "warnings"), *skipped, engine.get("error")))
        for subject, test in (
            *((_test(test), test) for test in tests),
            *((f"{level.get('users')} at once", level) for level in users),
        ):
            yield from ((f"{name}, {subject}", text) for text in list_at(test, "notes"))


# Users at once


def _users_tables(engines: _Named) -> Iterator[blocks.Table]:
    levels = [(name, level) for name, engine in engines for level in objects_at(engine, "users")]
    several = len({count_at(level, "prompt_tokens") for _, level in levels}) > 1
    found: list[tuple[int, int, blocks.TableLine]] = []
    for name, level in levels:
        users, tokens = count_at(level, "users"), count_at(level, "prompt_tokens")
        rate = number_at(level, "tokens_per_s")
        if users is None or tokens is None or rate is None:
            continue
        mean, deviation = number_at(level, "user_tps", "mean"), number_at(level, "user_tps", "stdev")
        cells = (
            blocks.TableCell(f"{rate:,.1f}"),
            blocks.TableCell()
            if mean is None
            else blocks.TableCell(f"{mean:,.1f}", "" if deviation is None else f"± {deviation:,.1f}"),
            _percentiles(level, "ttft_s", "s", 2),
            _percentiles(level, "tpot_ms", "ms", 1),
            _percentiles(level, "itl_ms", "ms", 1),
        )
        note = f"{counted(users, 'user')}{f', prompt {tokens:,}' if several else ''}"
        found.append((users, tokens, blocks.TableLine(name=blocks.public(name), note=note, cells=cells)))
    if found:
        lines = tuple(line for _, _, line in sorted(found, key=lambda level: level[:2]))
        yield blocks.Table(title="Users at once", columns=_USERS_COLUMNS, lines=lines, note=_USERS_NOTE)


def _percentiles(level: MeasurementJson, figure: str, unit: str, digits: int) -> blocks.TableCell:
    p50, p95, p99 = (number_at(level, figure, name) for name in ("p50", "p95", "p99"))
    if p50 is None:
        return blocks.TableCell()
    higher = "" if p95 is None or p99 is None else f"{p95:,.{digits}f}, {p99:,.{digits}f}"
    return blocks.TableCell(f"{p50:,.{digits}f} {unit}", higher)


# Fidelity


def _fidelity_charts(engines: _Named, measurement: Measurement) -> Iterator[blocks.Table]:
    floor = [("noise floor", object_at(measurement.data, "noise"))]
    if klds := [
        figure._replace(text=f"{figure.text}, {band_of(figure.value)}")
        for figure in _fidelities(engines, "mean_kld", " nats", 4)
    ]:
        note = (
            "How far the distributions are from the reference's. Less is better; a value within the noise floor "
            f"is no difference. Scale: {scale_text()}."
        )
        yield blocks.chart("Mean KL divergence", note, [*klds, *_fidelities(floor, "mean_kld", " nats", 4)])
    if same := list(_fidelities(engines, "top1_agreement", "%", 1, error="top1_se", factor=100, largest=100)):
        note = "Share of the positions at which the likeliest token is the reference's."
        yield blocks.chart("Same top token", note, same, blocks.Axis(0.0, 100.0))
    if bits := list(_fidelities(engines, "bits_per_byte", "", 3)):
        yield blocks.chart("Bits per byte", "Log-loss of the text. Less is better.", bits)


def _fidelities(
    engines: _Named,
    key: str,
    unit: str,
    digits: int,
    *,
    error: str = "",
    factor: float = 1,
    largest: float = math.inf,
) -> Iterator[blocks.Figure]:
    """Yield the values of `key`, none of which is negative, with their 95% intervals where these are known."""
    for name, engine in engines:
        value, deviation = number_at(engine, key), number_at(engine, error or f"{key}_se")
        windows = count_at(engine, "windows")
        if value is None:
            continue
        value *= factor
        figure = blocks.Figure(name, value, f"{value:.{digits}f}{unit}")
        if deviation and windows is not None:
            interval = t_interval(value, factor * deviation, windows)
            low, high = max(0.0, interval.low), min(interval.high, largest)
            figure = figure._replace(ends=(low, high), interval=f"{low:.{digits}f} to {high:.{digits}f}")
        yield figure


def _about_fidelity(measurement: Measurement) -> Iterator[str]:
    reference = measurement.engines[0]
    yield f"against {reference.name} ({reference.backend}:{reference.model})"
    yield f"over {text_at(measurement.data, 'text') or 'the text that comes with paragone'}"
    if tokens := count_at(measurement.data, "tokens_scored"):
        yield f"with {tokens:,} tokens scored"


def _fidelity_findings(engines: _Named, measurement: Measurement) -> Iterator[blocks.Remark]:
    """Yield remarks: where the divergence grows, which engine is closer, and how free-running answers agree."""
    for name, engine in engines:
        if warning := text_at(engine, "warning"):
            yield blocks.Remark(blocks.public(warning), stands_out=True)
        depth = object_at(engine, "by_depth")
        if depth.get("grows") is True:
            growth = f"{name}: the KLD grows with the depth in the context{_growth(depth)}."
            yield blocks.Remark(blocks.public(growth), stands_out=True)
    measured = {str(engine.get("engine")) for _, engine in engines}
    answers = objects_at(measurement.data, "free_running", "candidates")
    for item, who in (
        *((pair, {str(pair.get("a")), str(pair.get("b"))}) for pair in objects_at(measurement.data, "pairs")),
        *((answer, {str(answer.get("candidate"))}) for answer in answers),
    ):
        if who <= measured and (sentence := text_at(item, "sentence")):
            stands_out = item.get("collapsed") is True or item.get("shown") is True
            yield blocks.Remark(blocks.public(sentence), stands_out)


def _growth(depth: Mapping[str, Json]) -> str:
    parts = objects_at(depth, "parts")
    klds = [number_at(part, "mean_kld") for part in (*parts[:1], *parts[-1:])]
    if len(klds) < 2:
        return ""
    first, last = ("?" if kld is None else f"{kld:.4f}" for kld in klds)
    return f", from {first} after {parts[0].get('first')} tokens to {last} after {parts[-1].get('last')}"
