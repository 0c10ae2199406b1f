"""Judges that only a suite names. Asking such judges needs consent, since the suite may come from somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from paragone_workbench.consent.actions import engine_actions
from paragone_workbench.engines.definitions import EngineDefinition, to_spec
from paragone_workbench.engines.registry import Registry


def foreign_judges(
    judges: Mapping[str, EngineDefinition], own: Iterable[EngineDefinition], registry: Registry
) -> frozenset[str]:
    """Return the names of the judges that neither config.toml nor the command line names."""
    known = {to_spec(engine, registry.find(engine.backend)) for engine in own}
    return frozenset(
        name for name, judge in judges.items() if to_spec(judge, registry.find(judge.backend)) not in known
    )


def judge_actions(
    judges: Mapping[str, EngineDefinition],
    foreign: Iterable[str],
    registry: Registry,
    suite: Path,
    folders: Sequence[str],
) -> list[str]:
    """Return what the foreign judges of a suite do outside of the suite's folder.

    Raises InputError if a backend is missing or an option is invalid, and EngineError if the backend fails.
    """
    return [
        f"the judge {name} gets prompts and answers, and {action}"
        for name in sorted(foreign)
        for action in engine_actions(judges[name], registry.get(judges[name].backend), suite, folders)
    ]
