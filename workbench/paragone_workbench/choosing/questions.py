"""The suite that `paragone choose` asks: the user's own suite, or the suite that comes with paragone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from paragone import InputError, Json
from paragone.options import describe
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.experiments.suites.suite import Suite
from paragone_workbench.experiments.suites.suite_file import read_suite

QUESTIONS = Path(__file__).with_name("questions.toml")
"""Prompts with assertions: facts, sums, instructions, JSON, and another language."""

SAMPLING: Mapping[str, Json] = {"max_tokens": 200, "temperature": 0}
"""Options for the prompts that come with paragone, unless the user sets them. The prompts ask for short answers, and random
sampling would hide what a quantization loses."""


def deciding_suite(path: Path | None, catalog: AssertionCatalog, system: str) -> Suite:
    """Return the suite in a file; by default, paragone's own suite. Raises InputError for a suite without assertions."""
    path = path or QUESTIONS
    suite = read_suite(path, catalog, system=system)
    if suite.problems:
        raise InputError(
            f"{path.name} has mistakes; nothing was measured.",
            hint=f"`paragone suite run {path} --engines ENGINE` lists the mistakes.",
        )
    if not any(prompt.assertions for prompt in suite.prompts):
        raise InputError(
            f"No prompt of {path.name} has assertions or an expected answer, so the suite decides nothing.",
            hint="docs/suites.md shows how to write assertions.",
        )
    return suite


def for_questions(engines: Sequence[EngineDefinition], registry: Registry) -> tuple[EngineDefinition, ...]:
    """Return the engines with the options of `SAMPLING` that the engine's backend has and that the user did not set."""
    found = []
    for engine in engines:
        known = {info.name for info in describe(registry.get(engine.backend).sampling)}
        options = {name: value for name, value in SAMPLING.items() if name in known}
        found.append(replace(engine, options={**options, **engine.options}))
    return tuple(found)
