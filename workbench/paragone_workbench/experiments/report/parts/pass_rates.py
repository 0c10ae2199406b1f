"""The pass rates of parts of a suite: of the prompts that have a tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from paragone.wording import counted
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.suite_values import EngineValues
from paragone_workbench.experiments.report.content import Chart
from paragone_workbench.experiments.report.parts.charts import figure_of
from paragone_workbench.experiments.report.public_text import public

MOST = 12
"""Number of tags that are shown: those of the most prompts."""


def tag_charts(engines: Sequence[EngineValues], tags: Mapping[int, Sequence[str]]) -> tuple[Chart, ...]:
    """Return a chart of the pass rates for each tag that some prompts have and others do not.

    `tags` has the tags of each prompt by its index.
    """
    sizes = Counter(tag for of_prompt in tags.values() for tag in set(of_prompt))
    charts: list[Chart] = []
    for tag, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        figures = []
        for engine in engines:
            values = [
                value for prompt, value in engine.values(PASS_RATE).items() if tag in tags.get(prompt, ())
            ]
            if values:
                figures.append(figure_of(PASS_RATE, engine.engine, values))
        if figures and size < len(tags) and len(charts) < MOST:
            charts.append(
                Chart(
                    title=public(tag),
                    note=f"Pass rate over the {counted(size, 'prompt')} with this tag.",
                    figures=tuple(figures),
                    start=0.0,
                    end=1.0,
                )
            )
    return tuple(charts)
