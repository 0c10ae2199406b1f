"""The prompts that engines answer for a measurement of fidelity."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError, Message
from paragone_cli.command_line.output import note
from paragone_workbench.choosing.questions import QUESTIONS
from paragone_workbench.experiments.suites.assertions import load_assertions
from paragone_workbench.experiments.suites.suite import problem_text
from paragone_workbench.experiments.suites.suite_file import read_suite


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """Prompts from a file.

    Attributes:
        name: The name of the file; None for the file that comes with paragone.
        prompts: The messages of each prompt.
    """

    name: str | None
    prompts: tuple[tuple[Message, ...], ...]


def read_prompts(path: Path | None) -> PromptFile:
    """Return the prompts of a suite file, or those that come with paragone. Raises InputError."""
    file = path or QUESTIONS
    with closing(load_assertions(note)) as catalog:
        suite = read_suite(file, catalog)
    if suite.problems:
        raise InputError(
            problem_text(str(file), suite.problems), hint="Correct the file; nothing was measured."
        )
    return PromptFile(
        name=None if path is None else path.name, prompts=tuple(prompt.messages for prompt in suite.prompts)
    )
