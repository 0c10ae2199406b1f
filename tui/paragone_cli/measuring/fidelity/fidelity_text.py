"""A fidelity measurement as text: a table, two pictures, and sentences for each candidate and each pair of candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from paragone.wording import size_text
from paragone_cli.command_line.formats import short_name
from paragone_cli.command_line.output import put, put_line, put_table
from paragone_workbench.measure.fidelity.depth import Depth
from paragone_workbench.measure.fidelity.measured import Candidate, Difference, Measured
from paragone_workbench.measure.fidelity.measurement import Fidelity
from paragone_workbench.measure.fidelity.pairs import kld_pairs, neighbours
from paragone_workbench.measure.fidelity.positions import (
    DECADES,
    FEWEST_WINDOWS,
    mean,
    percentile,
    root_mean_square,
    shares,
)
from paragone_workbench.measure.fidelity.report import depths_of, log_ratio
from paragone_workbench.measure.fidelity.scale import band_of, scale_text
from paragone_workbench.measure.fidelity.top_tokens import TOP, TopAgreement
from paragone_workbench.measure.fidelity.verdict import verdict
from paragone_workbench.statistics.estimate import Estimate, number

_BAR = 40
_HEIGHTS = " ▁▂▃▄▅▆▇█"


def put_fidelity(fidelity: Fidelity) -> None:
    """Print a measurement."""
    scored, reference = fidelity.reference.losses.size, fidelity.reference
    if not reference.windows:
        put("Nothing was measured.")
        return
    partial = ", partial" if fidelity.partial else ""
    put_line(
        f"Reference {reference.name}: {scored:,} tokens scored in {reference.windows} of {fidelity.windows} "
        f"windows of {fidelity.window} tokens{partial}"
    )
    put()
    put_table(_table(fidelity))
    if reference.windows < FEWEST_WINDOWS:
        put(f"\nThere are no uncertainties: these need {FEWEST_WINDOWS} windows or more.")
    compared = [
        (candidate.name, candidate.size, candidate.difference)
        for candidate in fidelity.candidates
        if candidate.difference.windows
    ]
    if compared:
        _put_pictures([*compared, (_NOISE, None, fidelity.noise)])
    elif not any(verdict(candidate, fidelity) for candidate in fidelity.candidates):
        put("\nNo candidate was measured.")
    found = depths_of(fidelity)
    _put_depths(fidelity.candidates, found)
    put()
    for candidate, depth in zip(fidelity.candidates, found, strict=True):
        if candidate.reason:
            put_line(candidate.reason)
        if sentence := verdict(candidate, fidelity):
            put_line(sentence)
        if depth.sentence:
            put_line(f"{candidate.name}: {depth.sentence}")
    for pair in neighbours(kld_pairs(fidelity.candidates), fidelity.candidates):
        put_line(pair.sentence)
    if compared:
        put_line(f"Scale of the mean KLD: {scale_text()}.")


_NOISE = "noise floor"


def _table(fidelity: Fidelity) -> list[list[str]]:
    """Return the table: a column for the reference, one for its noise, and one for each candidate."""
    reference, candidates = fidelity.reference, fidelity.candidates
    engines: list[Measured] = [reference, *candidates]
    differences = [fidelity.noise, *(candidate.difference for candidate in candidates)]

    def of_engines(title: str, show: Callable[[Measured], str]) -> list[str]:
        first, *others = map(show, engines)
        return [title, first, "", *others]

    def of_differences(title: str, show: Callable[[Difference], str]) -> list[str]:
        return [title, "", *map(show, differences)]

    def of_klds(title: str, fraction: float) -> list[str]:
        return of_differences(title, lambda difference: _plain(percentile(difference.kld, fraction)))

    ratios = [log_ratio(candidate, reference) for candidate in candidates]
    return [
        ["", short_name(reference.name), _NOISE, *(short_name(candidate.name) for candidate in candidates)],
        of_engines("weights", lambda measured: size_text(measured.size)),
        of_engines("perplexity", lambda measured: _shown(measured.perplexity)),
        ["ln(PPL / reference's)", "", "", *map(_shown, ratios)],
        of_engines("bits per byte", lambda measured: _shown(measured.bits_per_byte(fidelity.text_bytes))),
        of_differences("mean KLD", lambda difference: _shown(mean(difference.kld))),
        of_differences("on the scale", lambda difference: _band(mean(difference.kld))),
        of_klds("median KLD", 0.5),
        of_klds("90% KLD", 0.9),
        of_klds("99% KLD", 0.99),
        of_klds("maximum KLD", 1),
        of_differences("mean Δp", lambda difference: _percent(mean(difference.delta_p))),
        of_differences("RMS Δp", lambda difference: _percent(root_mean_square(difference.delta_p))),
        of_differences("same top token", lambda difference: _percent(mean(difference.same_top))),
        *_top_rows([candidate.top for candidate in candidates]),
    ]


def _top_rows(tops: Sequence[TopAgreement | None]) -> list[list[str]]:
    """Return rows on the candidates that report only their likeliest tokens; no rows if there are no such candidates."""
    if not any(tops):
        return []

    def row(title: str, show: Callable[[TopAgreement], Estimate | None]) -> list[str]:
        return [title, "", "", *("" if top is None else _percent(show(top)) for top in tops)]

    return [
        row(f"same first of the top {TOP}", lambda top: top.same_top),
        row(f"in common of the top {TOP}", lambda top: top.common),
    ]


def _put_pictures(rows: Sequence[tuple[str, int | None, Difference]]) -> None:
    """Draw the mean KL divergence by the size of the weights, and the distribution of the positions' KL divergences."""
    means = [(name, size, mean(difference.kld)) for name, size, difference in rows]
    largest = max((estimate.value for _, _, estimate in means if estimate is not None), default=0.0)
    put("\nMean KLD by size")
    known = [(name, size, estimate) for name, size, estimate in means if estimate is not None]
    put_table(
        [
            [
                short_name(name),
                size_text(size),
                f"{'█' * max(1, round(_BAR * estimate.value / largest)) if largest else ''} {estimate.value:.3g}",
            ]
            for name, size, estimate in sorted(known, key=lambda row: (row[1] is None, row[1] or 0))
        ]
    )
    put("\nShare of the positions, by their KLD")
    drawn = [
        [short_name(name), "".join(_columns(shares(difference.kld)))]
        for name, _, difference in rows
        if difference.windows
    ]
    width = len(drawn[0][1]) // len(DECADES[1:])
    put_table([*drawn, ["", "".join(f"1e{decade}".ljust(width) for decade in DECADES[:-1])]])


def _put_depths(candidates: Sequence[Candidate], found: Sequence[Depth]) -> None:
    """Print the mean KL divergence by the number of tokens before the position."""
    measured = [
        (candidate.name, depth.parts)
        for candidate, depth in zip(candidates, found, strict=True)
        if depth.parts
    ]
    if not measured:
        return
    put("\nMean KLD by the number of tokens before")
    put_table(
        [
            ["", *(part.title for part in measured[0][1])],
            *([short_name(name), *(_shown(part.kld) for part in parts)] for name, parts in measured),
        ]
    )


def _columns(found: Sequence[float]) -> Iterator[str]:
    """Yield a block character for each share, with its height in proportion; the largest share has a full block."""
    most = max(found)
    for part in found:
        level = round(part / most * (len(_HEIGHTS) - 1)) if most else 0
        yield _HEIGHTS[max(level, 1) if part else 0]


def _shown(estimate: Estimate | None) -> str:
    return "" if estimate is None else number(estimate)


def _percent(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{number(estimate.scaled(100))} %"


def _band(estimate: Estimate | None) -> str:
    return "" if estimate is None else band_of(estimate.value)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
