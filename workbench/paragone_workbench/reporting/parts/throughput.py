"""The throughput of engines with users at once, as `paragone bench --users` measured it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from paragone.json_fields import count_at, number_at, objects_at
from paragone.wording import counted
from paragone_workbench.experiments.known_measurements import MeasurementJson
from paragone_workbench.reporting.drawings import Table, TableCell, TableLine
from paragone_workbench.reporting.public_text import public

_COLUMNS = ("tokens/s in all", "for each user", "TTFT", "time a token", "from token to token")
_NOTE = (
    "Each user sends the next request as soon as there is an answer. Times are medians, with the 95th and the 99th percentile below "
    "each; the speed for each user is a mean, with its standard deviation."
)


def throughput_tables(engines: Sequence[tuple[str, MeasurementJson]]) -> Iterator[Table]:
    """Yield a table of the speeds with several users at once, if measured, ordered by the number of users."""
    levels = [(name, level) for name, engine in engines for level in objects_at(engine, "users")]
    several = len({count_at(level, "prompt_tokens") for _, level in levels}) > 1
    found = [
        (users, tokens, _line(name, level, users, rate, f", prompt {tokens:,}" if several else ""))
        for name, level in levels
        if (users := count_at(level, "users")) is not None
        and (tokens := count_at(level, "prompt_tokens")) is not None
        and (rate := number_at(level, "tokens_per_s")) is not None
    ]
    lines = tuple(line for _, _, line in sorted(found, key=lambda level: level[:2]))
    if lines:
        yield Table(title="Users at once", first="engine", columns=_COLUMNS, lines=lines, note=_NOTE)


def common_throughput(
    known: Mapping[tuple[int, int, int], Mapping[str, MeasurementJson]], engines: Sequence[str]
) -> tuple[int, Mapping[str, MeasurementJson]] | None:
    """Return the largest number of users at which the throughput of all engines is known, and each engine's measurement.

    `known` is what `known_throughputs` returns. None if no number of users was measured with all engines.
    """
    whole = (level for level, found in known.items() if len(found) == len(engines))
    most = max(whole, key=lambda level: level[0], default=None)
    return None if most is None else (most[0], known[most])


def _line(name: str, level: MeasurementJson, users: int, rate: float, prompt: str) -> TableLine:
    return TableLine(
        name=public(name),
        note=f"{counted(users, 'user')}{prompt}",
        cells=(
            TableCell(text=f"{rate:,.1f}"),
            _spread(level, "user_tps"),
            _percentiles(level, "ttft_s", "s", 2),
            _percentiles(level, "tpot_ms", "ms", 1),
            _percentiles(level, "itl_ms", "ms", 1),
        ),
    )


def _spread(level: MeasurementJson, figure: str) -> TableCell:
    mean, deviation = number_at(level, figure, "mean"), number_at(level, figure, "stdev")
    if mean is None:
        return TableCell()
    return TableCell(text=f"{mean:,.1f}", detail="" if deviation is None else f"± {deviation:,.1f}")


def _percentiles(level: MeasurementJson, figure: str, unit: str, digits: int) -> TableCell:
    p50, p95, p99 = (number_at(level, figure, name) for name in ("p50", "p95", "p99"))
    if p50 is None:
        return TableCell()
    higher = "" if p95 is None or p99 is None else f"{p95:,.{digits}f}, {p99:,.{digits}f}"
    return TableCell(text=f"{p50:,.{digits}f} {unit}", detail=higher)
