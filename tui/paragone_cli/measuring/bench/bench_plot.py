"""Plots of the rates of a bench, of plain characters without colours."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from paragone.installation import install_command
from paragone_cli.command_line.output import note, one_line, put, terminal_width
from paragone_workbench.measure.bench.plan import BenchTest
from paragone_workbench.measure.bench.report import Spread

Row = tuple[str, BenchTest, Mapping[str, Spread | None]]
"""An engine's name, a test, and its figures."""

_WIDEST, _HEIGHT = 100, 12
_TITLES = {"prefill_tps": "Prefill, tokens/s", "decode_tps": "Decode, tokens/s"}


def put_plots(rows: Sequence[Row]) -> None:
    """Print bars for one test; for several, curves over the tokens of depth and prompt."""
    try:
        import plotext
    except ModuleNotFoundError:
        note(f"The plots need the package plotext. Install it with: {install_command('experiments')}")
        return
    width = min(terminal_width(), _WIDEST) - 1
    several = len({_place(test) for _, test, _ in rows}) > 1
    for figure, title in _TITLES.items():
        known = [
            (one_line(name), _place(test), spread.mean)
            for name, test, figures in rows
            if (spread := figures[figure])
        ]
        if not known:
            continue
        plotext.clear_figure()
        plotext.theme("clear")
        put()
        if several:
            put(title)
            curves: dict[str, list[tuple[int, float]]] = {}
            for name, place, rate in known:
                curves.setdefault(name, []).append((place, rate))
            letters = dict(zip(curves, string.ascii_letters, strict=False))
            for name, points in curves.items():
                places, rates = zip(*sorted(points), strict=True)
                plotext.plot(places, rates, marker=letters[name])
            plotext.plot_size(width, _HEIGHT)
            plotext.ylim(0, 1.05 * max(rate for _, _, rate in known))
            plotext.xticks(sorted({place for _, place, _ in known}))
            plotext.xlabel("tokens of depth and prompt")
            _put(plotext.uncolorize(plotext.build()))
            put("  ".join(f"{letter}: {name}" for name, letter in letters.items()))
        else:
            put(title)
            plotext.simple_bar([name for name, _, _ in known], [rate for _, _, rate in known], width=width)
            _put(plotext.uncolorize(plotext.build()))


def _place(test: BenchTest) -> int:
    return test.depth + test.prompt_tokens


def _put(picture: str) -> None:
    put("\n".join(line.rstrip() for line in picture.rstrip().splitlines()))
