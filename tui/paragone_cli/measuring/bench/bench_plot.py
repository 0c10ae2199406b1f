"""Plots the rates of a bench with plain characters, without colours."""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping, Sequence
from types import ModuleType

from paragone.installation import install_command
from paragone_cli.command_line.output import note, one_line, put, terminal_width
from paragone_workbench.measure.bench.plan import BenchTest
from paragone_workbench.measure.bench.spread import Spread

Row = tuple[str, BenchTest, Mapping[str, Spread | None]]
"""An engine's name, a test, and its figures."""

_WIDEST, _HEIGHT = 100, 12
_TITLES = {"prefill_tps": "Prefill, tokens/s", "decode_tps": "Decode, tokens/s"}


def put_plots(rows: Sequence[Row]) -> None:
    """Print bars for one test; for several tests, curves over the number of tokens of depth and prompt."""
    several = len({_tokens(test) for _, test, _ in rows}) > 1
    for figure, title in _TITLES.items():
        curves: dict[str, dict[int, float]] = {}
        for name, test, figures in rows:
            if spread := figures[figure]:
                curves.setdefault(one_line(name), {})[_tokens(test)] = spread.mean
        if not curves:
            continue
        if several:
            put_curves(title, curves, "tokens of depth and prompt")
        elif (plotext := _plotext()) is not None:
            put()
            put(title)
            rates = [rate for curve in curves.values() for rate in curve.values()]
            plotext.simple_bar(list(curves), rates, width=_width())
            _put(plotext.uncolorize(plotext.build()))


def put_curves(title: str, curves: Mapping[str, Mapping[int, float]], x_title: str) -> None:
    """Print a curve for each name in `curves`, through points of y by x. `x_title` is the title of the x axis."""
    if (plotext := _plotext()) is None:
        return
    put()
    put(title)
    letters = dict(zip(curves, string.ascii_letters, strict=False))
    for name, letter in letters.items():
        xs, ys = zip(*sorted(curves[name].items()), strict=True)
        plotext.plot(xs, ys, marker=letter)
    plotext.plot_size(_width(), _HEIGHT)
    plotext.ylim(0, 1.05 * max(value for curve in curves.values() for value in curve.values()))
    plotext.xticks(sorted({x for curve in curves.values() for x in curve}))
    plotext.xlabel(x_title)
    _put(plotext.uncolorize(plotext.build()))
    put("  ".join(f"{letter}: {name}" for name, letter in letters.items()))


@functools.cache
def _found() -> ModuleType | None:
    """Return the package that draws, or, if the package is not installed, print a note and return None."""
    try:
        import plotext
    except ModuleNotFoundError:
        note(f"The plots need the package plotext. Install it with: {install_command('experiments')}")
        return None
    found: ModuleType = plotext
    return found


def _plotext() -> ModuleType | None:
    """Return the package that draws, with an empty figure, or None if the package is not installed."""
    if (plotext := _found()) is not None:
        plotext.clear_figure()
        plotext.theme("clear")
    return plotext


def _width() -> int:
    return min(terminal_width(), _WIDEST) - 1


def _tokens(test: BenchTest) -> int:
    return test.depth + test.prompt_tokens


def _put(picture: str) -> None:
    put("\n".join(line.rstrip() for line in picture.rstrip().splitlines()))
