"""How much less often an engine passes than the reference, by the tags of the prompts."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from paragone.wording import counted
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.suite_values import EngineValues

FEWEST_OF_TAG = 5
"""Smallest number of prompts with a tag for which a loss is reported."""


def worst_loss(
    collected: Sequence[EngineValues], reference: str, engine: str, tags: Mapping[int, Sequence[str]]
) -> Iterator[str]:
    """Yield a sentence about the tag with an engine's largest loss against the reference, if the engine loses at any tag.

    `tags` has the tags of each prompt, by the prompt's index. Prompts that only one of the engines answered are left out.
    """
    rates = {values.engine: values.values(PASS_RATE) for values in collected}
    own, wanted = rates.get(engine, {}), rates.get(reference, {})
    by_tag = defaultdict[str, list[float]](list)
    for prompt in own.keys() & wanted.keys():
        for tag in tags.get(prompt, ()):
            by_tag[tag].append(wanted[prompt] - own[prompt])
    losses = {tag: statistics.fmean(found) for tag, found in by_tag.items() if len(found) >= FEWEST_OF_TAG}
    worst = max(losses, key=losses.__getitem__, default="")
    if losses.get(worst, 0.0) > 0:
        yield (
            f"{engine} loses most on `{worst}`: {PASS_RATE.shown(losses[worst])} points over "
            f"{counted(len(by_tag[worst]), 'prompt')}, which may be chance."
        )
