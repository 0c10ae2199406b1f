"""Decides which engine to deploy, and says why, at what price, and how sure that is.

The reference is the engine whose quality is wanted. Of the engines that are shown to pass the assertions not less often than
the reference by more than a margin, and the reference itself, the smallest is chosen; of equally small ones, the fastest.
An engine for which that is open is not chosen: the number of prompts that would settle the question is said instead.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from paragone import Json
from paragone.wording import counted
from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.non_inferiority import NonInferiority
from paragone_workbench.experiments.differences.suite_values import EngineValues
from paragone_workbench.measure.fidelity.scale import kld_text

FEWEST_OF_TAG = 5
"""Smallest number of prompts with a tag whose pass rates are told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which engine to deploy.

    Attributes:
        chosen: The engine's name; None if no engine was compared with the reference.
        reference: The engine whose quality is wanted.
        reasons: Why this one, and at what price, in sentences.
        others: Why no smaller one, in sentences.
    """

    chosen: str | None
    reference: str
    reasons: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The decision in a sentence."""
        return "Nothing is decided." if self.chosen is None else f"Deploy {self.chosen}."

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        return {
            "chosen": self.chosen,
            "reference": self.reference,
            "reasons": list(self.reasons),
            "others": list(self.others),
        }


def only_one(name: str | None, misfits: Sequence[str]) -> Decision:
    """Return the decision where no more than one engine fits, which is `name`. `misfits` says why the others do not."""
    reason = "No engine fits." if name is None else "No other engine fits. Nothing was measured."
    return Decision(chosen=name, reference=name or "", reasons=(reason,), others=tuple(misfits))


def decide(
    figures: Sequence[EngineFigures],
    reference: str,
    verdicts: Sequence[NonInferiority],
    losses: Mapping[str, Mapping[str, TagLoss]],
    deployable: Collection[str] | None = None,
) -> Decision:
    """Return the decision.

    Args:
        figures: The figures of the engines.
        reference: The name of the engine whose quality is wanted.
        verdicts: Which engines are not worse than which.
        losses: What each engine loses to the reference, by engine and tag.
        deployable: The names of the engines that may be chosen, which the reference need not be; by default all.
    """
    by_name = {engine.engine: engine for engine in figures}
    allowed = by_name.keys() if deployable is None else deployable
    against = {verdict.b: verdict for verdict in verdicts if verdict.a == reference}
    if not against and not any(
        engine.pass_rate is not None for engine in figures if engine.engine != reference
    ):
        missing = f"No engine answered a prompt whose assertions were checked beside {reference}."
        return Decision(chosen=None, reference=reference, reasons=(missing,), others=())
    allowed = [name for name in allowed if name in by_name and not by_name[name].collapse]
    able = [by_name[reference]] if reference in allowed else []
    able += [
        by_name[name]
        for name, verdict in against.items()
        if verdict.verdict == "not worse" and name in allowed
    ]
    chosen = min(able, key=_order, default=None)
    smaller = [
        engine
        for engine in figures
        if engine.engine != reference and (chosen is None or _order(engine) < _order(chosen))
    ]
    reasons: list[str] = []
    if chosen is None or chosen.engine == reference:
        reasons += _safe(by_name[reference], smaller, against, fits=chosen is not None)
    else:
        reasons += _price(chosen, by_name[reference])
        reasons.append(_shown(against[chosen.engine]))
        reasons += _losses(chosen.engine, losses.get(chosen.engine, {}).values())
    return Decision(
        chosen=None if chosen is None else chosen.engine,
        reference=reference,
        reasons=tuple(reasons),
        others=tuple(_why_not(engine, reference, against) for engine in smaller),
    )


def _why_not(engine: EngineFigures, reference: str, against: Mapping[str, NonInferiority]) -> str:
    if engine.collapse:
        return engine.collapse
    if engine.engine in against:
        return _shown(against[engine.engine])
    return f"{engine.engine} and {reference} have too few prompts in common for an interval."


def _safe(
    reference: EngineFigures,
    smaller: Sequence[EngineFigures],
    against: Mapping[str, NonInferiority],
    *,
    fits: bool,
) -> Iterator[str]:
    """Yield why no smaller engine is chosen, and how good the reference is."""
    name = reference.engine
    found = [
        "worse" if engine.collapse else against[engine.engine].verdict if engine.engine in against else "open"
        for engine in smaller
    ]
    points = next((f"{PASS_RATE.shown(verdict.margin)} points" for verdict in against.values()), "the margin")
    if not smaller:
        yield f"No engine is smaller than {name}, or as small and faster."
    elif "open" in found:
        count = found.count("open")
        yield f"No {'smaller ' if fits else ''}engine is shown to be as good as {name} within {points}."
        safe = f", so {name} is the safe choice" if fits else ""
        yield f"For {counted(count, 'engine')}, that is open{safe}."
    else:
        which = "The smaller engine is" if len(smaller) == 1 else "All smaller engines are"
        yield f"{which} worse than {name} by more than {points}."
    if not fits:
        yield f"{name} does not fit."
    elif reference.pass_rate is not None:
        yield (
            f"{name} passes {PASS_RATE.shown(reference.pass_rate)}% of {counted(reference.prompts, 'prompt')}: whether that is "
            "enough is for you to say."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TagLoss:
    """How much less often an engine passes than the reference at the prompts with a tag.

    Attributes:
        tag: The tag.
        loss: The pass rate of the reference minus that of the engine, as a share.
        prompts: Number of prompts with this tag that both answered.
    """

    tag: str
    loss: float
    prompts: int


def tag_losses(
    collected: Sequence[EngineValues], reference: str, tags: Mapping[int, Sequence[str]]
) -> dict[str, dict[str, TagLoss]]:
    """Return what each engine loses to the reference, by tag. `tags` has the tags of each prompt by its index."""
    rates = {values.engine: values.values(PASS_RATE) for values in collected}
    wanted = rates.get(reference, {})
    found: dict[str, dict[str, TagLoss]] = {}
    for engine, own in rates.items():
        by_tag: dict[str, list[float]] = {}
        for prompt in own.keys() & wanted.keys():
            for tag in tags.get(prompt, ()):
                by_tag.setdefault(tag, []).append(wanted[prompt] - own[prompt])
        found[engine] = {
            tag: TagLoss(tag=tag, loss=math.fsum(values) / len(values), prompts=len(values))
            for tag, values in by_tag.items()
        }
    return found


def _order(engine: EngineFigures) -> tuple[float, float]:
    """Return what engines are ordered by: the size, then the speed. Unknown values come last."""
    return (
        math.inf if engine.size is None else engine.size,
        math.inf if engine.decode_tps is None else -engine.decode_tps,
    )


def _price(chosen: EngineFigures, reference: EngineFigures) -> Iterator[str]:
    parts: list[str] = []
    if chosen.memory and reference.memory:
        parts.append(f"{chosen.memory / reference.memory:.2f} times the memory")
    elif chosen.size and reference.size:
        parts.append(f"{chosen.size / reference.size:.2f} times the size")
    if chosen.decode_tps and reference.decode_tps:
        parts.append(f"{chosen.decode_tps / reference.decode_tps:.2f} times the decoding speed")
    if parts:
        yield f"{chosen.engine} has {' and '.join(parts)} of {reference.engine}."
    if chosen.kld is not None:
        yield f"Its mean KLD from {reference.engine} is {kld_text(chosen.kld)}."
    if chosen.same_answers is not None:
        yield f"It gives the same greedy answer as {reference.engine} to {chosen.same_answers} of {counted(chosen.answers, 'prompt')}."


def _shown(verdict: NonInferiority) -> str:
    low, high = verdict.interval.low, verdict.interval.high
    return (
        f"{verdict.sentence} (Difference {_points(verdict.difference)} points, 95% interval {_points(low)} to "
        f"{_points(high)}, over {counted(verdict.prompts, 'prompt')}.)"
    )


def _points(share: float) -> str:
    return f"{'+' if share > 0 else ''}{PASS_RATE.shown(share)}"


def _losses(engine: str, losses: Iterable[TagLoss]) -> Iterator[str]:
    """Yield a sentence on the tag at which an engine loses most, if it loses something there."""
    lost = [loss for loss in losses if loss.prompts >= FEWEST_OF_TAG and loss.loss > 0]
    if lost:
        worst = max(lost, key=lambda loss: loss.loss)
        yield (
            f"{engine} loses most on `{worst.tag}`: {PASS_RATE.shown(worst.loss)} points over "
            f"{counted(worst.prompts, 'prompt')}, which may be chance."
        )
