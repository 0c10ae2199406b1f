"""The pass rates of parts of a suite: of the prompts that have a tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from paragone.wording import counted
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.suite_values import EngineValues
from paragone_workbench.reporting.content import Chart, Figure
from paragone_workbench.reporting.parts.charts import figure_of
from paragone_workbench.reporting.public_text import public

MOST = 12
"""Number of tags that are shown: those of the most prompts."""


def tag_charts(engines: Sequence[EngineValues], tags: Mapping[int, Sequence[str]]) -> tuple[Chart, ...]:
    """Return a chart of the pass rates for each tag that some prompts have and others do not.

    `tags` has the tags of each prompt by its index.
    """
    return tuple(islice(_charts(engines, tags), MOST))


def _charts(engines: Sequence[EngineValues], tags: Mapping[int, Sequence[str]]) -> Iterator[Chart]:
    """Yield the charts, those of the most prompts first."""
    rates = [(engine.engine, engine.values(PASS_RATE)) for engine in engines]
    sizes = Counter(tag for of_prompt in tags.values() for tag in set(of_prompt))
    for tag, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        if size == len(tags):
            continue
        figures: list[Figure] = []
        for engine, of_engine in rates:
            values = [value for prompt, value in of_engine.items() if tag in tags.get(prompt, ())]
            if values:
                figures.append(figure_of(PASS_RATE, engine, values))
        if figures:
            yield Chart(
                title=public(tag),
                note=f"Pass rate over the {counted(size, 'prompt')} with this tag.",
                figures=tuple(figures),
                start=0.0,
                end=1.0,
            )
