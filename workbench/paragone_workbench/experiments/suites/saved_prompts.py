"""Reads the prompts of experiments from the history."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import Json, ParagoneError
from paragone.wire import from_json
from paragone_workbench.experiments.suites.suite import SuitePrompt
from paragone_workbench.store import Store

PAGE = 1_000
"""Number of prompts in memory at a time."""


def saved_prompt(store: Store, experiment_id: int, index: int) -> SuitePrompt:
    """Return a prompt of an experiment. Raises StoreError, and ParagoneError if the prompt cannot be read."""
    ((_, content),) = store.experiments.prompts(experiment_id, index, 1)
    return prompt_from(index, content)


def saved_prompts(store: Store, experiment_id: int) -> Iterator[SuitePrompt]:
    """Yield the prompts of an experiment in order. Raises StoreError, and ParagoneError if a prompt cannot be read."""
    first = 0
    while page := store.experiments.prompts(experiment_id, first, PAGE):
        for index, content in page:
            yield prompt_from(index, content)
        first = page[-1][0] + 1


def prompt_from(index: int, content: Json) -> SuitePrompt:
    """Return a prompt from saved content. Raises ParagoneError if another version saved the content in another form."""
    try:
        return from_json(SuitePrompt, content)
    except (TypeError, ValueError) as error:
        raise ParagoneError(
            f"The prompt #{index} of the experiment was saved in a form that this version cannot read.",
            hint="Use the version of paragone that ran the experiment.",
        ) from error
