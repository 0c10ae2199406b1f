"""The judges that a suite names. The user is asked first whether the judges may contact their addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from paragone_cli.command_line.context import CommandContext
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.running.foreign_judges import foreign_judges, judge_actions
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.experiments.suites.suite import Suite


def consented_judges(
    context: CommandContext,
    path: Path,
    suite: Suite,
    engines: Sequence[EngineDefinition],
    catalog: AssertionCatalog,
) -> tuple[Mapping[str, EngineDefinition], frozenset[str]]:
    """Return the definitions of the judges of a suite by name, and the names of the judges that only the suite names.

    `path` is the suite's file; `engines` are the engines that the suite runs on. Raises InputError, for example if the user
    does not consent.
    """
    known = {engine.name: engine for engine in engines}
    judges = {
        name: known.get(name) or context.checked([name], [])[0] for name in catalog.judges(suite.prompts)
    }
    foreign = foreign_judges(judges, (*engines, *context.config.engines.values()), context.registry)
    folders = context.config.models.folders
    context.consent(path).require(judge_actions(judges, foreign, context.registry, path, folders))
    return judges, foreign
