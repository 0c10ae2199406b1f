"""The `custom_id` of a request in a batch, by which the result is assigned to a run of an experiment."""

from __future__ import annotations

import re
from typing import NamedTuple

from paragone_workbench.store import RunKey

_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-([0-9]{1,9})-([0-9]{1,9})-([0-9]{1,9})")


class CustomId(NamedTuple):
    """The id of a run's request, unique among all machines: the experiment's id and the run's key."""

    experiment: str
    """The id of the experiment: `Experiment.id`."""
    key: RunKey

    def __str__(self) -> str:
        """Return experiment, engine, prompt and repetition as a text of at most 64 letters, digits and dashes."""
        prompt, engine, repetition = self.key
        return f"{self.experiment}-{engine}-{prompt}-{repetition}"


def parse_custom_id(text: str) -> CustomId | None:
    """Parse a `custom_id`. Returns None if paragone did not write the id."""
    match = _ID.fullmatch(text)
    if match is None:
        return None
    engine, prompt, repetition = map(int, match.groups()[1:])
    return CustomId(match[1], RunKey(prompt_index=prompt, engine_index=engine, repetition=repetition))
