"""Whether experiments can be compared: their conditions, and the machine's speed while they ran."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from paragone import Json
from paragone_workbench.compare.parity import check_parity
from paragone_workbench.compare.parity_findings import Side, enumeration, quoted
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments.comparison_rows import engine_name, numbered_prompts
from paragone_workbench.experiments.suite import SuitePrompt, saved_prompts
from paragone_workbench.runs.result import RunResult
from paragone_workbench.statistics import Values, np, scipy
from paragone_workbench.store import Experiment, Store

_NOT_SET = {"seed", "cached tokens"}
"""Findings that differ from run to run whatever the settings are."""

_MACHINE = ("cpu", "cores", "gpus")


def different_conditions(
    store: Store, experiments: Sequence[Experiment], find: BackendLookup
) -> tuple[str, ...]:
    """Return the differences between the experiments as sentences, from runs of the first prompt that all share.

    A difference between engines that is the same in each experiment is left out. `find` returns the backend of a name.
    Raises StoreError.
    """
    if len(experiments) < 2:
        return ()
    prompts = [tuple(saved_prompts(store, experiment.number)) for experiment in experiments]
    sides = [
        [
            Side.of_run(run, find(run.definition.backend), name=name)
            for name, run in of_engines.items()
            if run.loaded is not None and run.settings is not None
        ]
        for of_engines in _runs_of_one_prompt(store, experiments, prompts)
    ]
    parity = check_parity([side for of_experiment in sides for side in of_experiment])
    findings = [
        finding.sentence
        for finding in parity.findings
        if finding.what not in _NOT_SET
        and _differ([finding.values.get(side.name) for side in of_experiment] for of_experiment in sides)
    ]
    return (*findings, *_of_experiments(store, experiments, prompts))


def _runs_of_one_prompt(
    store: Store, experiments: Sequence[Experiment], prompts: Sequence[Sequence[SuitePrompt]]
) -> Iterator[dict[str, RunResult]]:
    numbers: dict[str, int] = {}
    indices = [
        {number: prompt.index for number, prompt in numbered_prompts(of_experiment, numbers)}
        for of_experiment in prompts
    ]
    common = set.intersection(*map(set, indices))
    if not common:
        return
    for experiment, by_number in zip(experiments, indices, strict=True):
        first: dict[str, RunResult] = {}
        for run in store.experiments.runs_of_prompt(experiment.number, by_number[min(common)]):
            first.setdefault(engine_name(experiment, run.result.definition.name, several=True), run.result)
        yield first


def _of_experiments(
    store: Store, experiments: Sequence[Experiment], prompts: Sequence[Sequence[SuitePrompt]]
) -> Iterator[str]:
    by_id = {f"e{experiment.number}": experiment for experiment in experiments}
    systems = {ident: _systems(of_one) for ident, of_one in zip(by_id, prompts, strict=True)}
    if _differ(systems.values()):
        named = {
            ident: " or ".join(quoted(text) if text else "none" for text in sorted(texts))
            for ident, texts in systems.items()
        }
        yield f"The system prompt is {enumeration(named)}. A prompt with another system prompt is another prompt."
    judges = {ident: store.experiments.judges(experiment.number) for ident, experiment in by_id.items()}
    if len(set(filter(None, judges.values()))) > 1:
        listed = enumeration({ident: " and ".join(names) or None for ident, names in judges.items()})
        yield f"The judges are {listed}. Verdicts of different judges are not comparable."
    schedules = {ident: experiment.schedule for ident, experiment in by_id.items()}
    if len(set(schedules.values())) > 1:
        yield f"The schedule is {enumeration(schedules)}. Speeds in different schedules are not comparable."
    for part in _MACHINE:
        values = {ident: experiment.machine.get(part) for ident, experiment in by_id.items()}
        if len({json.dumps(value) for value in values.values()} - {"null"}) > 1:
            shown = {ident: None if value is None else _shown(value) for ident, value in values.items()}
            yield f"The machine's {part}: {enumeration(shown)}. Speeds are not comparable, and rounding can differ."


def _differ(values: Iterable[Iterable[Json]]) -> bool:
    """Return whether experiments have different values. An unknown value counts as equal to every value."""
    known = [{json.dumps(value, sort_keys=True) for value in of_one} - {"null"} for of_one in values]
    return any(one != other for one in known for other in known if one and other)


def _systems(prompts: Sequence[SuitePrompt]) -> set[str]:
    return {prompt.messages[0].text if prompt.messages[0].role == "system" else "" for prompt in prompts}


def _shown(value: Json) -> str:
    if isinstance(value, list | tuple):
        names = [str(item.get("name", "")) if isinstance(item, Mapping) else str(item) for item in value]
        return ", ".join(names) or "none"
    return str(value)


_LONGEST = 3.0
"""Largest mean number of consecutive runs of one engine. If two engines take turns in answering first, the mean is 2."""

_FEWEST = 20
"""Smallest number of runs in which a trend is looked for."""

_LEVEL = 0.001
"""The p-value of Spearman's rank correlation with time below which there is a trend."""

_LEAST = 0.05
"""Smallest relative change that is reported."""


def alternate(one: Values, other: Values) -> bool:
    """Return whether two engines took turns, from the starts of their runs in seconds.

    Pass the starts of the prompts and repetitions that both engines answered.

    The speed of a machine changes in the course of minutes: the machine gets warm, and other programs use the cores. If one
    engine answers all prompts before the other begins, such a change looks like a difference between the engines, and no test
    of the values can tell the two apart: with the same file under two names, a difference in speed was "shown" in 9 of
    28 experiments. If the engines take turns, a change affects both.
    """
    times = np.concatenate([one, other])
    whose = np.repeat([0, 1], [one.size, other.size])[np.argsort(times, kind="stable")]
    changes = int(np.count_nonzero(np.diff(whose)))
    return bool(times.size) and times.size / (changes + 1) <= _LONGEST


def drift(rates: Values) -> float | None:
    """Return the relative change of the decode rate from the first third of the runs to the last third.

    `rates` are the rates of the runs, in the order in which the runs began. The change is between the medians of the two
    thirds; None if the rates have no trend in time (Spearman's rank correlation, p < 0.001), or change by less than 5%.
    """
    if rates.size < _FEWEST:
        return None
    if not np.ptp(rates) or scipy.stats.spearmanr(np.arange(rates.size), rates).pvalue >= _LEVEL:
        return None
    third = rates.size // 3
    first, last = float(np.median(rates[:third])), float(np.median(rates[-third:]))
    change = last / first - 1
    return change if abs(change) >= _LEAST else None
