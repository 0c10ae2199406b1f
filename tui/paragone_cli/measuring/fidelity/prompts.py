"""The prompts that engines answer for a measurement of fidelity."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from paragone import InputError, Message
from paragone_cli.command_line.output import note
from paragone_workbench.choosing.questions import QUESTIONS
from paragone_workbench.experiments.suites.assertions import load_assertions
from paragone_workbench.experiments.suites.suite import problem_text
from paragone_workbench.experiments.suites.suite_file import read_suite


def read_prompts(path: Path | None) -> list[tuple[Message, ...]]:
    """Return the messages of each prompt of a suite file, by default of the suite of paragone itself. Raises InputError."""
    file = path or QUESTIONS
    with closing(load_assertions(note)) as catalog:
        suite = read_suite(file, catalog)
    if suite.problems:
        raise InputError(
            problem_text(str(file), suite.problems), hint="Correct the file; nothing was measured."
        )
    return [prompt.messages for prompt in suite.prompts]
