"""Opening, listing and searching a long history, compared with plain sqlite3 queries on the same file."""

import asyncio
import contextlib
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.long_history import ABSENT_LETTERS, COMMON_WORD, CONVERSATIONS, MESSAGES, RARE_WORD, write
from bench.row import Row
from paragone_workbench.store import History
from paragone_workbench.store.records import read_query

__all__ = ["history"]

RUNS = 15
LIMIT = 50  # largest number of entries in a list

OPENING_S = 0.5
"""Largest allowed duration of opening or listing the history, in seconds."""
SEARCH_S = 0.2
"""Largest allowed duration of a search, in seconds. Each key in the search field starts a search."""

_LIST = """
    SELECT id, title, updated,
      (SELECT count(*) FROM prompt WHERE conversation_id = conversation.id),
      (SELECT group_concat(definition) FROM lane WHERE conversation_id = conversation.id AND NOT closed)
    FROM conversation ORDER BY updated DESC LIMIT ?
"""
_TABLES = ("prompt", "run")
_PHRASE = """
    SELECT id, text FROM {0} WHERE number IN (SELECT rowid FROM {0}_search WHERE {0}_search MATCH ?)
    ORDER BY number DESC LIMIT ?
"""
_BY_ENGINE = """
    SELECT DISTINCT conversation_id FROM run JOIN turn ON run_id = run.id JOIN prompt ON prompt.id = prompt_id
    WHERE engine LIKE ? LIMIT ?
"""
_TEXTS = "SELECT text FROM {0}"


@dataclass(frozen=True, slots=True)
class _Times:
    """Durations of paragone's call and of the plain query, in seconds, in the order of the runs."""

    ours: list[float]
    bare: list[float]


def history() -> list[Row]:
    """Write the history to a temporary folder, and measure in alternating runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        write(path)
        return asyncio.run(_measure(path))


async def _measure(path: Path) -> list[Row]:
    opening = await _times(lambda: _open(path), lambda: _open_bare(path))
    saved = await History.open(path)
    with contextlib.closing(sqlite3.connect(path)) as bare:
        listing = await _times(
            lambda: saved.call(lambda store: store.conversations(LIMIT)),
            lambda: bare.execute(_LIST, (LIMIT,)).fetchall(),
        )

        async def found(text: str) -> tuple[object, ...]:
            return await saved.call(lambda store: store.search(text, LIMIT))

        async def search(text: str, hits: int, query: Callable[[str], object]) -> _Times:
            if len(await found(text)) != hits:
                raise RuntimeError(f"The search for {text!r} did not find {hits} messages.")
            return await _times(lambda: found(text), lambda: query(text))

        def indexed(text: str) -> None:
            for table in _TABLES:
                bare.execute(_PHRASE.format(table), (f'"{text}"', LIMIT)).fetchall()

        def read(text: str) -> None:  # by `re`, because LIKE ignores case for ASCII letters only
            wanted = re.compile(re.escape(text), re.IGNORECASE)
            for table in _TABLES:
                [text for (text,) in bare.execute(_TEXTS.format(table)) if wanted.search(text)]

        common = await search(COMMON_WORD, LIMIT, indexed)
        rare = await search(RARE_WORD, 1, indexed)
        letters = await search(ABSENT_LETTERS, 0, read)
        query = read_query("engine:smol")
        by_engine = await _times(
            lambda: saved.call(lambda store: store.conversations(LIMIT, query=query)),
            lambda: bare.execute(_BY_ENGINE, ("%smol%", LIMIT)).fetchall(),
        )
    await saved.close()
    return [
        _row("open and close", opening, "connect and write one row", OPENING_S),
        _row(f"list {LIMIT}", listing, "one query", OPENING_S),
        _row("list the conversations of an engine", by_engine, "one query", SEARCH_S),
        _row("search for a word in most answers", common, "the same index", SEARCH_S),
        _row("search for a word in one answer", rare, "the same index", SEARCH_S),
        _row("search for two letters", letters, "`re` over all texts", SEARCH_S),
    ]


async def _times(ours: Callable[[], Awaitable[object]], bare: Callable[[], object]) -> _Times:
    times = _Times([], [])
    for _ in range(RUNS):
        begin = time.perf_counter()
        bare()
        between = time.perf_counter()
        await ours()
        times.ours.append(time.perf_counter() - between)
        times.bare.append(between - begin)
    return times


async def _open(path: Path) -> None:
    await (await History.open(path)).close()


def _open_bare(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO owner (lock) VALUES ('bench')")
        connection.execute("DELETE FROM owner WHERE lock = 'bench'")


def _row(what: str, times: _Times, baseline: str, most_s: float) -> Row:
    ours, bare = statistics.median(times.ours), statistics.median(times.bare)
    return Row(
        figure=f"history of {CONVERSATIONS:,} conversations, {MESSAGES:,} messages: {what}",
        measured=f"{ours * 1000:.1f} ms",
        baseline=f"plain sqlite3, {baseline}: {bare * 1000:.1f} ms, median of {RUNS}",
        budget=f"≤ {most_s:g} s",
        holds=ours <= most_s,
    )
