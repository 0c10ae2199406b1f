"""The entries of the history screen: conversations and answers of suites, with the matches of a search."""

from __future__ import annotations

import time
from dataclasses import dataclass

from textual.content import Content
from textual.widgets.option_list import Option

from paragone.wording import counted
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.found import marked
from paragone_workbench.dates import local_date
from paragone_workbench.store.query import Query
from paragone_workbench.store.records import Hit, Summary
from paragone_workbench.store.store import Store


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A conversation with the newest match of a search, or a matching answer of a suite."""

    summary: Summary | None
    """The conversation; None for an answer of a suite."""
    hit: Hit | None

    @property
    def id(self) -> str:
        """The id that people type: `c7`, or `e3/17` for an answer of a suite."""
        if self.summary is not None:
            return f"c{self.summary.number}"
        return "" if self.hit is None else self.hit.id

    @property
    def title(self) -> str:
        """The title of the conversation, or the name of the suite."""
        if self.summary is not None:
            return self.summary.title
        return "" if self.hit is None else self.hit.title


def find_entries(store: Store, query: Query, text: str, limit: int) -> list[HistoryEntry]:
    """Return the entries that match `query`, at most `limit`. `text` is the query in the user's words."""
    if not query.words:
        return [HistoryEntry(summary, None) for summary in store.conversations(limit, query=query)]
    hits = store.search(text, limit, one_each=True)
    summaries = store.summaries(hit.conversation for hit in hits if hit.conversation is not None)
    return [
        HistoryEntry(None if hit.conversation is None else summaries[hit.conversation], hit)
        for hit in hits
        if hit.conversation is None
        or hit.conversation in summaries  # another program may have just deleted the conversation
    ]


def option_of(entry: HistoryEntry, query: Query) -> Option:
    """Return the lines of an entry: its title and details, and below these the matching text with the words marked."""
    hit = entry.hit
    parts: list[tuple[str, str]] = [
        *marked(entry.title, query.words, "bold"),
        (f"  {_details(entry)}", "dim"),
    ]
    if hit is not None and not hit.is_title:
        parts += [(f"\n  {one_line(hit.engine)}: " if hit.engine else "\n  ", "dim")]
        parts += marked(hit.snippet, query.words)
    return Option(Content.assemble(*parts), id=entry.id)


def _details(entry: HistoryEntry) -> str:
    if entry.summary is None:
        assert entry.hit is not None  # an entry has a summary or a hit
        return f"{when(entry.hit.time)} · answer {entry.hit.id} of a suite"
    summary = entry.summary
    details = [when(summary.updated), counted(summary.prompts, "prompt"), ", ".join(summary.engines)]
    details += [f"#{tag}" for tag in summary.tags]
    details += ["pinned"] * summary.is_pinned + ["interrupted"] * summary.is_interrupted + [entry.id]
    return one_line(" · ".join(filter(None, details)))


def when(moment: float) -> str:
    """Return a moment in local time, without the date if the moment is today."""
    day = local_date(moment, "%Y-%m-%d")
    return local_date(moment, "%H:%M" if day == time.strftime("%Y-%m-%d") else "%Y-%m-%d %H:%M")
