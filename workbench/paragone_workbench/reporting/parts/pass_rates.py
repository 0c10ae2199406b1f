"""The pass rates of parts of a suite: of the prompts that have a tag, and of the assertions of a type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from paragone.wording import counted
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.suite_values import EngineValues
from paragone_workbench.reporting.drawings import Table, TableCell, TableLine
from paragone_workbench.reporting.public_text import public
from paragone_workbench.statistics.intervals import share_interval

MOST = 24
"""Largest number of tags, and of types of assertions, that a report shows. Tags with the most prompts come first."""


def pass_rate_cell(rate: float, prompts: int) -> TableCell:
    """Return a pass rate with its interval."""
    interval = share_interval(rate, prompts)
    return TableCell(
        text=f"{PASS_RATE.shown(rate)}%",
        detail=f"{PASS_RATE.shown(interval.low)} to {PASS_RATE.shown(interval.high)}",
    )


def rates_by_tag(engines: Sequence[EngineValues], tags: Mapping[int, Sequence[str]]) -> tuple[Table, ...]:
    """Return a table of the pass rates at the prompts of each tag; no table if no tag is left.

    Tags that all prompts have are left out.
    `tags` has the tags of each prompt by its index.
    """
    rates = [engine.values(PASS_RATE) for engine in engines]
    prompts_of: dict[str, list[int]] = {}
    for prompt, of_prompt in tags.items():
        for tag in set(of_prompt):
            prompts_of.setdefault(tag, []).append(prompt)
    lines: list[TableLine] = []
    for tag, prompts in sorted(prompts_of.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(prompts) == len(tags) or len(lines) == MOST:
            continue
        known = [[rate[prompt] for prompt in prompts if prompt in rate] for rate in rates]
        if any(known):
            cells = tuple(
                pass_rate_cell(sum(values) / len(values), len(values)) if values else TableCell()
                for values in known
            )
            lines.append(TableLine(name=public(tag), note=counted(len(prompts), "prompt"), cells=cells))
    return _tables("tag", [engine.engine for engine in engines], lines)


def rates_by_assertion(
    engines: Sequence[str], rates: Iterable[tuple[int, str, float, int]]
) -> tuple[Table, ...]:
    """Return a table of the pass rates of each type of assertion; none if there are fewer than two types.

    Each item of `rates` has the index of an engine, a type, the rate and the number of prompts. The items are ordered by
    the type.
    """
    lines: list[TableLine] = []
    for name, group in groupby(rates, lambda rate: rate[1]):
        of_engine = {engine: (rate, prompts) for engine, _, rate, prompts in group}
        cells = tuple(
            pass_rate_cell(*of_engine[index]) if index in of_engine else TableCell()
            for index in range(len(engines))
        )
        most = max(prompts for _, prompts in of_engine.values())
        lines.append(TableLine(name=public(name), note=counted(most, "prompt"), cells=cells))
    return _tables("assertion", engines, lines[:MOST]) if len(lines) > 1 else ()


def _tables(first: str, engines: Sequence[str], lines: Sequence[TableLine]) -> tuple[Table, ...]:
    columns = tuple(map(public, engines))
    return (Table(title=f"By {first}", first=first, columns=columns, lines=tuple(lines)),) if lines else ()
