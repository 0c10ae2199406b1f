"""What was not the same in the experiments of a comparison: settings in force, models, builds, system prompts, machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from paragone import Backend, Json
from paragone_workbench.compare.parity.check import check_parity
from paragone_workbench.compare.parity.findings import enumeration, quoted
from paragone_workbench.compare.parity.side import Side
from paragone_workbench.experiments.differences.comparable import engine_name, numbered_prompts
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, RunKey, Store

__all__ = ["different_conditions"]

_NOT_SET = {"seed", "cached tokens"}
"""What differs from run to run, whatever the settings are."""

_MACHINE = ("cpu", "cores", "gpus")


def different_conditions(
    store: Store, experiments: Sequence[Experiment], find: Callable[[str], Backend | None]
) -> tuple[str, ...]:
    """Return what differs between the experiments, in sentences, by the first prompt that all of them have.

    What differs in the same way inside each experiment is left out. `find` returns the backend of a name. Raises
    StoreError.
    """
    runs = _runs_of_one_prompt(store, experiments) if len(experiments) > 1 else {}
    sides = {
        ident: [
            Side.of_run(run, find(run.definition.backend), name=name)
            for name, run in its.items()
            if run.loaded is not None and run.settings is not None
        ]
        for ident, its in runs.items()
    }
    parity = check_parity([side for its in sides.values() for side in its])
    findings = [
        finding.sentence
        for finding in parity.findings
        if finding.what not in _NOT_SET
        and _differ({ident: [finding.values.get(it.name) for it in its] for ident, its in sides.items()})
    ]
    return (*findings, *_of_experiments(store, experiments))


def _runs_of_one_prompt(store: Store, experiments: Sequence[Experiment]) -> dict[str, dict[str, RunResult]]:
    """Return the first runs of a common prompt, by the experiment's id and the engine's name; none without one."""
    numbers: dict[str, int] = {}
    indices = [
        {
            number: index
            for index, number in numbered_prompts(store.experiments.prompts(it.number), numbers).items()
        }
        for it in experiments
    ]
    common = set.intersection(*map(set, indices))
    found: dict[str, dict[str, RunResult]] = {}
    for experiment, by_number in zip(experiments, indices, strict=True):
        its = found.setdefault(f"e{experiment.number}", {})
        if common:
            start = RunKey(prompt_index=by_number[min(common)], engine_index=-1, repetition=-1)
            most = len(experiment.engines) * experiment.repetitions
            for run in store.experiments.runs(experiment.number, after=start, limit=most):
                if run.key.prompt_index == start.prompt_index:
                    its.setdefault(
                        engine_name(experiment, run.result.definition.name, several=True), run.result
                    )
    return found


def _of_experiments(store: Store, experiments: Sequence[Experiment]) -> Iterator[str]:
    """Yield what belongs to experiments as a whole."""
    systems = {f"e{it.number}": _systems(store, it) for it in experiments}
    if _differ({ident: list(its) for ident, its in systems.items()}):
        named = {
            ident: " or ".join(quoted(it) if it else "none" for it in sorted(its))
            for ident, its in systems.items()
        }
        yield f"The system prompt is {enumeration(named)}. A prompt with another system prompt is another prompt."
    judges = {f"e{it.number}": store.experiments.judges(it.number) for it in experiments}
    if len({its for its in judges.values() if its}) > 1:
        listed = enumeration({ident: " and ".join(its) or None for ident, its in judges.items()})
        yield f"The judges are {listed}. Their verdicts are not comparable."
    if len({it.schedule for it in experiments}) > 1:
        listed = enumeration({f"e{it.number}": it.schedule for it in experiments})
        yield f"The schedule is {listed}. Their speeds are not comparable."
    for part in _MACHINE:
        values = {f"e{it.number}": it.machine.get(part) for it in experiments}
        if len({json.dumps(value) for value in values.values()} - {"null"}) > 1:
            shown = {ident: None if it is None else _shown(it) for ident, it in values.items()}
            yield f"The machine's {part}: {enumeration(shown)}. Speeds are not comparable, and rounding can differ."


def _differ(values: Mapping[str, Sequence[Json]]) -> bool:
    """Whether experiments have different values. Unknown ones are equal to all others."""
    known = [{json.dumps(it, sort_keys=True) for it in its} - {"null"} for its in values.values()]
    return any(one != other for one in known for other in known if one and other)


def _systems(store: Store, experiment: Experiment) -> set[str]:
    """Return the system prompts of an experiment; an empty one for prompts without."""
    found: set[str] = set()
    for _, content in store.experiments.prompts(experiment.number):
        messages = content.get("messages") if isinstance(content, Mapping) else None
        first = messages[0] if isinstance(messages, list) and messages else None
        is_system = isinstance(first, Mapping) and first.get("role") == "system"
        found.add(str(first["text"]) if isinstance(first, Mapping) and is_system else "")
    return found


def _shown(value: Json) -> str:
    if isinstance(value, list | tuple):
        names = [str(it.get("name", "")) if isinstance(it, Mapping) else str(it) for it in value]
        return ", ".join(names) or "none"
    return str(value)
