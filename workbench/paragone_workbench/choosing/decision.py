"""Decides which engine to deploy, and says why, at what price, and with what certainty.

The reference is the engine whose quality should be reached. An engine qualifies if the answers rule out that the engine
passes assertions less often than the reference by more than a margin. Of the reference and the qualified engines, the
smallest is chosen; of equally small engines, the fastest. An engine whose verdict is open is not chosen; the decision then
says how many prompts would settle the question. With few prompts, nothing is decided; while the question is
open and prompts are yet to be answered, the decision is preliminary.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from paragone import Json
from paragone.wording import counted
from paragone_workbench.choosing.evidence import Evidence
from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.choosing.tag_losses import worst_loss
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.non_inferiority import NonInferiority
from paragone_workbench.measure.fidelity.scale import kld_text
from paragone_workbench.statistics.sample_size import rounded_up

FEWEST_PROMPTS = 20
"""Smallest number of prompts for a decision: with fewer, even engines that pass and fail alike may be 13 points apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which engine to deploy.

    Attributes:
        chosen: The engine's name; None if no engine was compared with the reference.
        reference: The name of the reference, whose quality should be reached.
        reasons: Sentences that say why this engine is chosen, and at what price.
        others: Sentences that say why no smaller engine is chosen.
        prompts: Number of prompts that all compared engines answered.
        planned: Number of prompts that all compared engines will have answered in the end.
        is_settled: Whether more answers cannot change the decision, because no smaller engine has an open verdict.
    """

    chosen: str | None
    reference: str
    reasons: tuple[str, ...]
    others: tuple[str, ...] = ()
    prompts: int = 0
    planned: int = 0
    is_settled: bool = False

    @property
    def headline(self) -> str:
        """The decision in a sentence."""
        if self.chosen is None:
            return "Nothing is decided."
        is_safe = self.chosen == self.reference and not self.is_settled
        chosen = f"{self.chosen}, the safe choice" if is_safe else self.chosen
        if self.prompts < self.planned and not self.is_settled:
            return f"Preliminary, after {self.prompts} of {self.planned} prompts: deploy {chosen}."
        return f"Deploy {chosen}."

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON, without `is_settled`."""
        fields = asdict(self)
        del fields["is_settled"]
        return fields


def only_one(name: str | None) -> Decision:
    """Return the decision if only the engine `name` fits, or if `name` is None because no engine fits."""
    reason = "No engine fits." if name is None else "No other engine fits. Nothing was measured."
    return Decision(chosen=name, reference=name or "", reasons=(reason,), is_settled=True)


def decide(
    figures: Sequence[EngineFigures],
    reference: str,
    evidence: Evidence,
    tags: Mapping[int, Sequence[str]],
    unfit: Collection[str] = (),
) -> Decision:
    """Return the decision.

    Args:
        reference: The name of the reference, whose quality should be reached.
        tags: The tags of each prompt, by the prompt's index.
        unfit: The names of engines that cannot be chosen, because they do not fit in memory.
    """
    by_name = {engine.engine: engine for engine in figures}
    against = {verdict.b: verdict for verdict in evidence.comparison.not_worse}
    prompts = evidence.prompts
    if prompts < FEWEST_PROMPTS or reference not in evidence.rates or len(evidence.rates) < 2:
        return Decision(
            chosen=None,
            reference=reference,
            reasons=tuple(_too_few(evidence, reference)),
            prompts=prompts,
            planned=evidence.planned,
        )
    allowed = [name for name, engine in by_name.items() if name not in unfit and not engine.collapse]
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
        reasons += worst_loss(evidence.values, reference, chosen.engine, tags)
    is_open = [
        verdict
        for engine in smaller
        if engine.engine in allowed
        and (verdict := against.get(engine.engine)) is not None
        and verdict.verdict == "open"
    ]
    if is_open:
        nearest = max(is_open, key=lambda verdict: verdict.interval.low)
        bearable = nearest.difference > -nearest.margin and nearest.interval.low < 0
        if bearable and chosen is not None and chosen.engine == reference:
            lost = PASS_RATE.shown(-nearest.interval.low)
            reasons.append(
                f"If you can bear a loss of {lost} points, {nearest.b} will do: a larger loss is ruled out (--margin)."
            )
            reasons += _price(by_name[nearest.b], by_name[reference])
        reasons += _next_step(nearest, evidence.planned - prompts)
    return Decision(
        chosen=None if chosen is None else chosen.engine,
        reference=reference,
        reasons=tuple(reasons),
        others=tuple(_why_not(engine, reference, against) for engine in smaller),
        prompts=prompts,
        planned=evidence.planned,
        is_settled=all(
            engine.engine in against and against[engine.engine].verdict != "open"
            for engine in smaller
            if engine.engine in allowed
        ),
    )


def _too_few(evidence: Evidence, reference: str) -> Iterator[str]:
    """Yield why nothing is decided, and what to do."""
    others = evidence.rates.keys() - {reference}
    if reference not in evidence.rates or not others:
        yield f"There is no prompt with checked assertions that both {reference} and another engine answered."
        return
    yield (
        f"All engines answered {evidence.prompts} of {counted(evidence.planned, 'prompt')} whose assertions are checked. A decision "
        f"takes {FEWEST_PROMPTS}: with fewer, even engines that pass and fail alike may be 13 points apart."
    )
    if evidence.planned >= FEWEST_PROMPTS:
        yield "Repeat the command to continue."
    else:
        yield f"Name a suite of {FEWEST_PROMPTS} prompts or more."


def _next_step(nearest: NonInferiority, left: int) -> Iterator[str]:
    """Yield a sentence about how the user can find out whether the `nearest` engine is as good as the reference."""
    more = nearest.more_prompts
    if more is None:
        yield f"Even many more prompts would hardly settle the question for {nearest.b}."
        return
    if more <= left:
        yield (
            f"The suite has {counted(left, 'prompt')} left, which may settle the question for {nearest.b}: "
            "repeat the command."
        )
        return
    rest = f"The suite has only {counted(left, 'prompt')} left" if left else "The suite has no more"
    needed = rounded_up(nearest.prompts + more)
    yield f"{rest}: to settle the question for {nearest.b}, name a suite with about {needed:,} prompts (--suite)."


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
    points = next(
        (f"{PASS_RATE.shown(verdict.margin)} points of the pass rate" for verdict in against.values()),
        "the margin",
    )
    if not smaller:
        yield f"No engine is smaller than {name}, or as small and faster."
    elif "open" in found:
        asked = max((verdict.prompts for verdict in against.values()), default=reference.prompts)
        yield (
            f"No {'smaller ' if fits else ''}engine is shown to be as good as {name} within {points}: "
            f"for {counted(found.count('open'), 'engine')}, the question is open after {counted(asked, 'prompt')}."
        )
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


def _order(engine: EngineFigures) -> tuple[float, float]:
    """Return the sort key of an engine: the size, then the speed. Unknown values come last."""
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
        yield f"The mean KLD of {chosen.engine} from {reference.engine} is {kld_text(chosen.kld)}."
    if chosen.same_answers is not None:
        same = f"{chosen.same_answers} of {counted(chosen.greedy_answers, 'prompt')}"
        yield f"{chosen.engine} gives the same greedy answer as {reference.engine} to {same}."


def _shown(verdict: NonInferiority) -> str:
    low, high = verdict.interval.low, verdict.interval.high
    return (
        f"{verdict.sentence} (Difference {_points(verdict.difference)} points, 95% interval{_of_all(verdict)} {_points(low)} to "
        f"{_points(high)}, over {counted(verdict.prompts, 'prompt')}.)"
    )


def _of_all(verdict: NonInferiority) -> str:
    count = verdict.comparisons
    if count == 1:
        return ""
    return " of both comparisons together" if count == 2 else f" of all {count} comparisons together"


def _points(share: float) -> str:
    return f"{'+' if share > 0 else ''}{PASS_RATE.shown(share)}"
