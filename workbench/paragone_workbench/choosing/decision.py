"""Which engine to deploy: the evidence of answers to the same prompts, the decision, and its reasons as messages."""

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from paragone import Json, WeightsFile
from paragone.texts import counted
from paragone_workbench.choosing.figures import (
    KLD_LIMIT,
    EngineFigures,
    engine_figures,
    speed_ratio,
    with_speeds_of_answers,
)
from paragone_workbench.engines.definitions import EngineDefinition, expand_home
from paragone_workbench.experiments.comparison import (
    MARGIN,
    NonInferiority,
    SuiteComparison,
    evidence_of,
)
from paragone_workbench.experiments.comparison_rows import PASS_RATE, EngineValues
from paragone_workbench.experiments.known_measurements import Known
from paragone_workbench.measure.fidelity_verdict import kld_text
from paragone_workbench.paths import accessible
from paragone_workbench.statistics import rounded_up
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.experiments import SavedChoice


def largest(engines: Sequence[str], sizes: Mapping[str, int]) -> str:
    """Return the engine with the largest weights, the default reference; the first engine if a size is unknown."""
    if not all(sizes.get(engine) for engine in engines):
        return engines[0]
    return max(engines, key=lambda engine: sizes[engine])


def largest_file(engines: Sequence[EngineDefinition]) -> str:
    """Return the engine with the largest file; the first engine if a model is not a file, because the size
    of a folder is not comparable."""
    paths = {engine.name: Path(expand_home(engine.model)) for engine in engines}
    files = {name: path for name, path in paths.items() if accessible(path) and path.is_file()}
    return largest(list(paths), {name: WeightsFile.of(path).size or 0 for name, path in files.items()})


def loaded_sizes(store: Store, experiment: Experiment) -> dict[str, int]:
    loaded = {
        engine.name: run.result.loaded
        for index, engine in enumerate(experiment.engines)
        if (run := store.experiments.last_loaded(experiment.number, index)) is not None
    }
    return {name: model.size for name, model in loaded.items() if model is not None and model.size}


def choice_of(store: Store, experiment: Experiment) -> SavedChoice:
    """Return the parameters of the choice that began an experiment; without one, parameters for a choice among its
    engines. Raises StoreError."""
    names = [engine.name for engine in experiment.engines]
    choice = store.experiments.choice(experiment.number) or SavedChoice(reference="", margin=MARGIN)
    if choice.reference not in names:
        choice = replace(choice, reference=largest(names, loaded_sizes(store, experiment)))
    return replace(choice, checked=choice.checked or experiment.prompts)


def evidence_for(
    choice: SavedChoice, experiment: Experiment | None, values: Sequence[EngineValues]
) -> SuiteComparison:
    """Return the evidence of an experiment's answers, whose figures are `values`; None without answers."""
    is_complete = experiment is not None and not (experiment.left or any(it.unjudged for it in values))
    return evidence_of(
        values, choice.reference, choice.margin, checked=choice.checked, is_complete=is_complete
    )


FEWEST_OF_TAG = 5


def worst_loss(
    collected: Sequence[EngineValues], reference: str, engine: str, tags: Mapping[int, Sequence[str]]
) -> Iterator[str]:
    """Yield a message about the tag with an engine's largest loss against the reference, if it loses at any tag. `tags`
    has the tags of each prompt, by the prompt's index. Prompts that only one of the engines answered do not count."""
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
            f"{engine} loses most on prompts with the tag `{worst}`: {PASS_RATE.shown(losses[worst])} points over "
            f"{counted(len(by_tag[worst]), 'prompt')}, which may be chance."
        )


FEWEST_PROMPTS = 20
"""Fewest prompts to call an engine as good as the reference: with fewer, even engines that pass the same prompts may be
13 points apart. An engine is called worse as soon as its interval excludes the margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which engine to deploy.

    Attributes:
        chosen: The engine's name; None if no engine was compared with the reference.
        prompts: Number of prompts that all compared engines answered.
        planned: Number of prompts that all compared engines will have answered in the end.
        is_settled: Whether further answers cannot change the decision, because no smaller engine has an open verdict.
        benched: Whether the speeds in `figures` come from `bench`, not from the suite's answers.
    """

    chosen: str | None
    reference: str
    reasons: tuple[str, ...]
    others: tuple[str, ...] = ()
    prompts: int = 0
    planned: int = 0
    is_settled: bool = False
    figures: tuple[EngineFigures, ...] = ()
    benched: bool = False
    comparison: SuiteComparison | None = None

    @property
    def verdict(self) -> Literal["decided", "safe_choice", "open"]:
        """`safe_choice`: the reference, while the question is open for a smaller engine. `open`: no engine is chosen."""
        if self.chosen is None:
            return "open"
        return "safe_choice" if self.chosen == self.reference and not self.is_settled else "decided"

    @property
    def is_preliminary(self) -> bool:
        """Whether an engine is chosen, and further answers may change the choice."""
        return self.chosen is not None and self.prompts < self.planned and not self.is_settled

    @property
    def headline(self) -> str:
        if self.verdict == "open":
            return next(self._found(), "Nothing is decided.")
        chosen = f"{self.chosen}, the safe choice" if self.verdict == "safe_choice" else self.chosen
        if self.is_preliminary:
            return f"Preliminary, after {self.prompts} of {self.planned} prompts: deploy {chosen}."
        return f"Deploy {chosen}."

    def _found(self) -> Iterator[str]:
        """Yield what the answers show about pass rates, first which engines are worse than the reference."""
        if self.comparison is not None:
            yield from (it.sentence for it in self.comparison.not_worse if it.verdict == "worse")
            pairs = self.comparison.comparisons
            yield from (it.sentence for it in pairs if it.shown and it.metric == PASS_RATE)

    def to_json(self) -> dict[str, Json]:
        not_worse = () if self.comparison is None else self.comparison.not_worse
        return {
            "headline": self.headline,
            "verdict": self.verdict,
            "preliminary": self.is_preliminary,
            "chosen": self.chosen,
            "reference": self.reference,
            "reasons": list(self.reasons),
            "others": list(self.others),
            "prompts": self.prompts,
            "planned": self.planned,
            "engines": [engine.to_json() for engine in self.figures],
            "non_inferiority": [verdict.to_json() for verdict in not_worse],
        }


def decide_for(
    store: Store,
    choice: SavedChoice,
    engines: Sequence[str],
    known: Known,
    experiment: Experiment | None,
    values: Sequence[EngineValues],
    tags: Mapping[int, Sequence[str]],
) -> Decision:
    """Decide by the known measurements of the engines and by the evidence of the experiment's answers (None without
    answers). Raises StoreError."""
    evidence = evidence_for(choice, experiment, values)
    sizes = {} if experiment is None else loaded_sizes(store, experiment)
    figures = engine_figures(engines, known, evidence=evidence, sizes=sizes, memory=choice.memory)
    benched = all(engine.decode_tps is not None for engine in figures)
    if values and not benched:
        figures = with_speeds_of_answers(figures, values)
    if len(engines) < 2:
        reason = "No other engine fits. Nothing was measured." if engines else "No engine fits."
        name = next(iter(engines), None)
        decision = Decision(chosen=name, reference=name or "", reasons=(reason,), is_settled=True)
    else:
        decision = decide(figures, choice.reference, evidence, tags, choice.unfit)
    return replace(decision, figures=figures, benched=benched, comparison=evidence)


def decide(
    figures: Sequence[EngineFigures],
    reference: str,
    evidence: SuiteComparison,
    tags: Mapping[int, Sequence[str]],
    unfit: Collection[str] = (),
) -> Decision:
    by_name = {engine.engine: engine for engine in figures}
    against = {verdict.b: verdict for verdict in evidence.not_worse}
    prompts = evidence.prompts
    allowed = [name for name, engine in by_name.items() if name not in unfit and not engine.collapse]
    rivals = [name for name in allowed if _order(by_name[name]) < _order(by_name[reference])]
    ruled_out = [name for name in rivals if name in against and against[name].verdict == "worse"]
    is_worse = reference in allowed and len(ruled_out) == len(rivals) > 0
    by_answers = reference in evidence.rates and len(evidence.rates) > 1
    if not by_answers and any(engine.own_suite for engine in figures):
        return _by_fidelity(figures, reference, allowed)
    useless = tuple(_useless_prompts(evidence, figures))
    fails = by_answers and not any(rate for rate, _ in evidence.rates.values())
    if not by_answers or (prompts < FEWEST_PROMPTS and not is_worse):
        return Decision(
            chosen=None,
            reference=reference,
            reasons=(*useless, *_too_few(evidence, reference)),
            prompts=prompts,
            planned=evidence.planned,
        )
    able = [by_name[reference]] if reference in allowed else []
    able += [
        by_name[name]
        for name, verdict in against.items()
        if name in allowed
        and not fails  # without a prompt that any engine passes, equal pass rates show nothing
        and (
            verdict.verdict == "not worse"
            or (by_name[name].is_indistinguishable and verdict.verdict == "open")
        )
        and not by_name[name].is_far
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
        reasons += worst_loss(evidence.engines, reference, chosen.engine, tags)
    reasons += _indistinguishable(figures, reference)
    known = [
        against.get(engine.engine) for engine in smaller if engine.engine in allowed and not engine.is_far
    ]
    is_open = [verdict for verdict in known if verdict is not None and verdict.verdict == "open"]
    if is_open:
        nearest = max(is_open, key=lambda verdict: verdict.interval.low)
        passed, _ = evidence.rates[reference]
        bearable = nearest.difference > -nearest.margin and 0 < -nearest.interval.low < passed / 2
        if bearable and chosen is not None and chosen.engine == reference:
            lost = PASS_RATE.shown(-nearest.interval.low)
            reasons.append(
                f"If you accept a loss of {lost} points, choose {nearest.b}: a larger loss is ruled out (--margin)."
            )
            reasons += _price(by_name[nearest.b], by_name[reference])
        reasons += _next_step(nearest, evidence.planned - prompts)
    return Decision(
        chosen=None if chosen is None else chosen.engine,
        reference=reference,
        reasons=(*useless, *reasons),
        others=tuple(_why_not(engine, reference, against) for engine in smaller),
        prompts=prompts,
        planned=evidence.planned,
        is_settled=None not in known and not is_open and not fails,
    )


def _by_fidelity(figures: Sequence[EngineFigures], reference: str, allowed: Collection[str]) -> Decision:
    """Decide by the fidelity alone, over the reference's answers to the user's own prompts, which have no assertions."""
    (own,) = (engine for engine in figures if engine.engine == reference)
    able = [
        engine
        for engine in figures
        if engine.engine in allowed and (engine is own or engine.is_indistinguishable)
    ]
    chosen = min(able, key=_order, default=None)
    smaller = [it for it in figures if it is not own and (chosen is None or _order(it) < _order(chosen))]
    is_open = [it for it in smaller if it.engine in allowed and not it.is_far]
    reasons: list[str] = []
    if chosen is None or chosen is own:
        reasons.append(
            f"No smaller engine is indistinguishable from {reference} on your conversations."
            if smaller
            else f"No engine is smaller than {reference}, or as small and faster."
        )
        reasons += [] if chosen is own else [f"{reference} does not fit."]
    else:
        reasons += _price(chosen, own)
    reasons += _indistinguishable(figures, reference)
    if is_open:
        reasons.append(
            "Prompts with assertions, or votes, show whether the differences make the answers worse (docs/suites.md)."
        )
    return Decision(
        chosen=None if chosen is None else chosen.engine,
        reference=reference,
        reasons=tuple(reasons),
        others=tuple(engine.collapse or _distance(engine, reference) for engine in smaller),
        is_settled=not is_open,
    )


def _indistinguishable(figures: Sequence[EngineFigures], reference: str) -> Iterator[str]:
    for engine in figures:
        if engine.is_indistinguishable:
            yield (
                f"{engine.engine} is indistinguishable from {reference} on {_conversations(engine)}: the mean KLD is within "
                f"the noise floor of {reference}."
            )


def _conversations(engine: EngineFigures) -> str:
    return f"your {counted(engine.kld_units, 'conversation')} ({counted(engine.kld_tokens, 'token')})"


def _distance(engine: EngineFigures, reference: str) -> str:
    if engine.kld is None:
        return f"The KLD of {engine.engine} from {reference} is unknown."
    where = f" on {_conversations(engine)}" if engine.own_suite else ""
    found = f"The mean KLD of {engine.engine} from {reference} is {kld_text(engine.kld)}{where}"
    if engine.is_far:
        return f"{found}: its 95% interval is above {KLD_LIMIT:g}, so {engine.engine} is not called safe."
    return f"{found}."


_MOST_ALIKE = 0.9
"""Largest share of prompts with the same result from all engines in a suite that tells engines apart well enough."""
_NAMED = 5
"""Largest number of prompts that a message lists."""


def _useless_prompts(evidence: SuiteComparison, figures: Sequence[EngineFigures]) -> Iterator[str]:
    """Yield what makes a suite unable to tell the engines apart: more than half of the prompts that every engine fails, almost
    all prompts with the same result, or more than half of an engine's answers that were cut."""
    rates = [found for values in evidence.engines if (found := values.values(PASS_RATE))]
    common = sorted(set.intersection(*map(set, rates))) if len(rates) > 1 else []
    alike = {
        end: [prompt for prompt in common if all(rate[prompt] == end for rate in rates)] for end in (0.0, 1.0)
    }
    if 2 * len(alike[0.0]) > len(common) or sum(map(len, alike.values())) > _MOST_ALIKE * len(common):
        named = ", ".join(f"#{prompt}" for prompt in alike[0.0][:_NAMED])
        listed = f" ({named}{', …' if len(alike[0.0]) > _NAMED else ''})" if named else ""
        yield (
            f"Most prompts do not tell the engines apart: of {counted(len(common), 'prompt')}, every engine fails "
            f"{len(alike[0.0]):,}{listed} and passes {len(alike[1.0]):,}."
        )
        if len(alike[0.0]) > len(alike[1.0]):
            yield "Check the assertions of the prompts that every engine fails, or use easier prompts."
        else:
            yield "Use harder prompts."
    for engine in figures:
        if 2 * engine.cut > engine.answers:
            yield (
                f"{engine.cut:,} of {counted(engine.answers, 'answer')} of {engine.engine} were cut at max_tokens. Set a larger "
                "max_tokens, or ask for short answers."
            )


def _too_few(evidence: SuiteComparison, reference: str) -> Iterator[str]:
    others = evidence.rates.keys() - {reference}
    if not evidence.planned:
        yield (
            "No prompt has assertions, and the fidelity over the prompts is not measured yet. Repeat the command with more "
            "time, or on a machine that is less busy."
        )
        return
    if reference not in evidence.rates or not others:
        yield f"There is no prompt with checked assertions that both {reference} and another engine answered."
        return
    yield (
        f"All engines answered {evidence.prompts} of {counted(evidence.planned, 'prompt')} whose assertions are checked. "
        f"{FEWEST_PROMPTS} are needed to call an engine as good: with fewer, even engines that pass the same prompts may be "
        "13 points apart."
    )
    if evidence.planned >= FEWEST_PROMPTS:
        yield "Repeat the command to continue."
    else:
        yield f"Name a suite of {FEWEST_PROMPTS} prompts or more."


def _next_step(nearest: NonInferiority, left: int) -> Iterator[str]:
    more = nearest.more_prompts
    if more is None:
        yield f"Even many more prompts would hardly settle the question for {nearest.b}."
        return
    least, most = more
    if most <= left:
        yield (
            f"The suite has {counted(left, 'prompt')} left, which may settle the question for {nearest.b}: "
            "repeat the command."
        )
        return
    rest = f"The suite has only {counted(left, 'prompt')} left" if left else "The suite has no more"
    total = " to ".join(f"{rounded_up(nearest.prompts + count):,}" for count in dict.fromkeys((least, most)))
    yield f"{rest}: to settle the question for {nearest.b}, name a suite with about {total} prompts (--suite)."


def _why_not(engine: EngineFigures, reference: str, against: Mapping[str, NonInferiority]) -> str:
    if engine.collapse:
        return engine.collapse
    if engine.engine in against:
        far = f" {_distance(engine, reference)}" if engine.is_far else ""
        return f"{_shown(against[engine.engine])}{far}"
    return f"{engine.engine} and {reference} have too few prompts in common for an interval."


def _safe(
    reference: EngineFigures,
    smaller: Sequence[EngineFigures],
    against: Mapping[str, NonInferiority],
    *,
    fits: bool,
) -> Iterator[str]:
    name = reference.engine
    found = [
        "worse"
        if engine.collapse
        else "far"
        if engine.is_far
        else "worse"
        if engine.engine in against and against[engine.engine].verdict == "worse"
        else "open"
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
    elif "far" in found:
        yield f"No smaller engine is called as good as {name}: each is worse, or too far from {name} by its KLD."
    else:
        which = "The smaller engine is" if len(smaller) == 1 else "All smaller engines are"
        yield f"{which} worse than {name} by more than {points}."
    if not fits:
        yield f"{name} does not fit."
    elif reference.pass_rate is not None:
        yield (
            f"{name} passes {PASS_RATE.shown(reference.pass_rate)}% of {counted(reference.prompts, 'prompt')}: you decide whether that "
            "is enough."
        )


def _order(engine: EngineFigures) -> tuple[float, float]:
    return engine.size or math.inf, -(engine.decode_tps or -math.inf)


def _price(chosen: EngineFigures, reference: EngineFigures) -> Iterator[str]:
    parts: list[str] = []
    if chosen.memory and reference.memory:
        parts.append(f"{chosen.memory / reference.memory:.2f} times the memory")
    elif chosen.size and reference.size:
        parts.append(f"{chosen.size / reference.size:.2f} times the size")
    speed = speed_ratio(chosen, reference)
    if speed is not None:
        ratio, low, high = speed
        parts.append(f"{ratio:.2f} times ({low:.2f} to {high:.2f}) the decoding speed")
    if parts:
        yield f"{chosen.engine} has {' and '.join(parts)} of {reference.engine}."
    if chosen.kld is not None and not chosen.is_indistinguishable:
        yield f"The mean KLD of {chosen.engine} from {reference.engine} is {kld_text(chosen.kld)}."
    if chosen.same_answers is not None:
        same = f"{chosen.same_answers} of {counted(chosen.greedy_answers, 'prompt')}"
        yield f"{chosen.engine} gives the same greedy answer as {reference.engine} to {same}."


def _shown(verdict: NonInferiority) -> str:
    shares = (verdict.difference, verdict.interval.low, verdict.interval.high)
    difference, low, high = (f"{'+' if share > 0 else ''}{PASS_RATE.shown(share)}" for share in shares)
    return (
        f"{verdict.sentence} (Difference {difference} points, {verdict.interval_name} {low} to {high}, over "
        f"{counted(verdict.prompts, 'prompt')}.)"
    )
