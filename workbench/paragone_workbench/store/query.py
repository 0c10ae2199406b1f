"""What users search the history for: words, and filters by engine, model, tag and date."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from paragone import InputError
from paragone.wording import quoted

FILTERS = ("engine", "model", "tag", "since", "until")
"""The filters, each written as `NAME:VALUE` among the words."""

_FILTER = re.compile(rf"({'|'.join(FILTERS)}):(\S{{1,200}})", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A parsed search text. Each hit contains all words, and belongs to a conversation that fits all filters."""

    words: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    """Parts of the names of engines that have answered in the conversation."""
    models: tuple[str, ...] = ()
    """Parts of the names of models that have answered in the conversation."""
    tags: tuple[str, ...] = ()
    """Complete tags of the conversation, in lower case."""
    since: float | None = None
    """The conversation was used at this time or later, in seconds since 1970."""
    until: float | None = None
    """The conversation began before this time, in seconds since 1970."""


def read_query(text: str) -> Query:
    """Return the words and the filters of a text, such as `engine:small since:2026-10 colour`.

    Raises InputError if a date is invalid.
    """
    words: list[str] = []
    parts: dict[str, list[str]] = {name: [] for name in FILTERS}
    for word in text.replace("\0", " ").split():
        found = _FILTER.fullmatch(word)
        if found is None:
            words.append(word)
        else:
            parts[found[1].lower()].append(found[2])
    return Query(
        words=tuple(words),
        engines=tuple(parts["engine"]),
        models=tuple(parts["model"]),
        tags=tuple(map(tag_name, parts["tag"])),
        since=max((_period(date)[0] for date in parts["since"]), default=None),
        until=min((_period(date)[1] for date in parts["until"]), default=None),
    )


def tag_name(text: str) -> str:
    """Return the saved form of a tag: one word in lower case. Raises InputError if the text cannot be a tag."""
    name = text.strip().lstrip("#").lower()
    if not name or not name.isprintable() or len(name.split()) != 1 or len(name) > 40:
        raise InputError(f"{quoted(text)} is not a tag: a tag is one word of at most 40 characters.")
    return name


def _period(text: str) -> tuple[float, float]:
    """Return the beginning and the end of a day, a month or a year in local time, in seconds since 1970."""
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        year, month, day = (int(part) if part else None for part in found.groups())
        assert year is not None
        begin = datetime(year, 1 if month is None else month, 1 if day is None else day)
        if day is not None:
            end = datetime.fromordinal(begin.toordinal() + 1)
        elif month is not None:
            end = datetime(year + month // 12, month % 12 + 1, 1)
        else:
            end = datetime(year + 1, 1, 1)
        return begin.timestamp(), end.timestamp()
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{quoted(text)} is not a date.", hint="Write 2026, 2026-10 or 2026-10-31."
        ) from error
