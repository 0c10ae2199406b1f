"""The suite of a choice: the user's own, or the one that comes with paragone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paragone import InputError
from paragone.options import describe
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.experiments.suites.suite import Suite
from paragone_workbench.experiments.suites.suite_file import read_suite

QUESTIONS = Path(__file__).with_name("questions.toml")
"""Prompts with assertions: facts, sums, instructions, JSON, and another language."""

LONGEST_ANSWER = 200
"""Tokens of an answer to the prompts that come with paragone, unless the user sets `max_tokens`."""


def deciding_suite(path: Path | None, catalog: AssertionCatalog, system: str) -> Suite:
    """Return the suite in a file; None for the one that comes with paragone. Raises InputError if it decides nothing."""
    path = path or QUESTIONS
    suite = read_suite(path, catalog, system=system)
    if suite.problems:
        raise InputError(
            f"{path.name} has mistakes; nothing was measured.",
            hint=f"`paragone suite run {path} --engines ENGINE` lists them.",
        )
    if not any(prompt.assertions for prompt in suite.prompts):
        raise InputError(
            f"No prompt of {path.name} has assertions or an expected answer, so the suite decides nothing.",
            hint="docs/suites.md shows how to write them.",
        )
    return suite


def with_short_answers(
    engines: Sequence[EngineDefinition], registry: Registry
) -> tuple[EngineDefinition, ...]:
    """Return the engines with a limit of their answers, unless the user set one: the prompts ask for short answers."""
    return tuple(_limited(engine, registry) for engine in engines)


def _limited(engine: EngineDefinition, registry: Registry) -> EngineDefinition:
    known = {info.name for info in describe(registry.get(engine.backend).sampling)}
    if "max_tokens" not in known or "max_tokens" in engine.options:
        return engine
    return replace(engine, options={**engine.options, "max_tokens": LONGEST_ANSWER})
