"""How much less often an engine passes than the reference, by the tags of the prompts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from paragone.wording import counted
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.suite_values import EngineValues

FEWEST_OF_TAG = 5
"""Smallest number of prompts with a tag for which a loss is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagLoss:
    """How much less often an engine passes than the reference at the prompts with a tag."""

    tag: str
    loss: float
    """The pass rate of the reference minus that of the engine, from −1 to 1."""
    prompts: int
    """Number of prompts with this tag that both engines answered."""


def tag_losses(
    collected: Sequence[EngineValues], reference: str, tags: Mapping[int, Sequence[str]]
) -> dict[str, list[TagLoss]]:
    """Return the losses of each engine, by its name. `tags` has the tags of each prompt, by the prompt's index."""
    rates = {values.engine: values.values(PASS_RATE) for values in collected}
    wanted = rates.get(reference, {})
    found: dict[str, list[TagLoss]] = {}
    for engine, own in rates.items():
        by_tag: dict[str, list[float]] = {}
        for prompt in own.keys() & wanted.keys():
            for tag in tags.get(prompt, ()):
                by_tag.setdefault(tag, []).append(wanted[prompt] - own[prompt])
        found[engine] = [
            TagLoss(tag=tag, loss=statistics.fmean(values), prompts=len(values))
            for tag, values in by_tag.items()
        ]
    return found


def worst_loss(engine: str, losses: Iterable[TagLoss]) -> Iterator[str]:
    """Yield a sentence about the tag with an engine's largest loss, if there is a loss."""
    lost = [loss for loss in losses if loss.prompts >= FEWEST_OF_TAG and loss.loss > 0]
    if lost:
        worst = max(lost, key=lambda loss: loss.loss)
        yield (
            f"{engine} loses most on `{worst.tag}`: {PASS_RATE.shown(worst.loss)} points over "
            f"{counted(worst.prompts, 'prompt')}, which may be chance."
        )
