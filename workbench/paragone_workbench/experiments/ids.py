"""The ids that users type: `r45` for a run, `c7` for a conversation, `e3` for an experiment, `e3/17` for a run of `e3`."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, cast

_ID = re.compile(r"([rce])([0-9]{1,18})(?:/([0-9]{1,18}))?", re.IGNORECASE)


class Id(NamedTuple):
    """A parsed id."""

    kind: Literal["r", "c", "e"]
    """`r` for a run of a conversation, `c` for a conversation, `e` for an experiment."""
    number: int
    run: int | None = None
    """The number of a run in the experiment; None for the whole experiment."""


def parse_id(text: str) -> Id | None:
    """Parse an id. Returns None if the text is not an id."""
    match = _ID.fullmatch(text)
    if match is None:
        return None
    kind = cast('Literal["r", "c", "e"]', match[1].lower())
    if match[3] is not None and kind != "e":
        return None
    return Id(kind, int(match[2]), None if match[3] is None else int(match[3]))
