"""Migrates files of versions 1 to 5 to version 6."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from paragone_workbench.identity import new_id

FIRST = 6
"""The version that `whole_0006.sql` creates."""


def migrate_older(
    connection: sqlite3.Connection,
    version: int,
    older: Mapping[int, Path],
    first: Path,
    execute: Callable[[Path], None],
) -> None:
    """Bring a file to version 6. Must be called in a transaction, with foreign keys off.

    `older` has the files of the scripts by the version that each one leads to, `first` is that of version 6, and `execute`
    executes a script.
    """
    for number in range(version + 1, FIRST):
        execute(older[number])
    _set_aside(connection)
    execute(first)
    for name, count, function in (
        ("id_of", 4, _id_of),
        ("sha256_of", 1, _sha256_of),
        ("common_part", 1, _common_part),
        ("with_request", 2, _with_request),
        ("result_of", 11, _result_of),
    ):
        connection.create_function(name, count, function)
    execute(older[FIRST])
    for name in _names(connection, "table"):
        if name.startswith("old_"):
            connection.execute(f"DROP TABLE {name}")


def _set_aside(connection: sqlite3.Connection) -> None:
    """Rename all tables to `old_…`. Drop all triggers and indexes, and the tables of the search."""
    for kind in ("trigger", "index"):
        for name in _names(connection, kind):
            connection.execute(f"DROP {kind} {name}")
    for name in ("prompt_search", "run_search"):
        connection.execute(f"DROP TABLE {name}")
    for name in _names(connection, "table"):
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")


def _names(connection: sqlite3.Connection, kind: str) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = ? AND sql IS NOT NULL AND name NOT LIKE 'sqlite_%'",
        (kind,),
    )
    return [name for (name,) in rows.fetchall()]


def _id_of(kind: str, number: int, seconds: float, content: str) -> str:
    """Return the id of a row. Copies of a file that are migrated separately get the same ids."""
    digest = hashlib.sha256(f"{kind} {number} {seconds!r} {content}".encode()).digest()
    return new_id(seconds, digest[:10])


def _sha256_of(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def _common_part(manifest: str) -> str | None:
    """Return the part of a manifest that runs have in common."""
    common = {name: value for name, value in json.loads(manifest).items() if name != "request"}
    return json.dumps(common, sort_keys=True) if common else None


def _with_request(common: str | None, request: str) -> str:
    return "{}" if common is None else json.dumps({**json.loads(common), "request": json.loads(request)})


def _result_of(
    engine: str,
    backend: str,
    model: str,
    finish: str | None,
    error: str,
    hint: str,
    metrics: str | None,
    settings: str | None,
    cautions: str,
    ended: float | None,
    manifest: str,
) -> str:
    """Return the result of a run as the JSON of version 6.

    The manifest has more properties of the engine than the columns have.
    """
    known = json.loads(manifest)
    described = known.get("engine")
    described = described if isinstance(described, dict) else {}
    python, address, options = (described.get(name) for name in ("python", "address", "options"))
    result: dict[str, Any] = {
        "definition": {
            "name": engine,
            "backend": backend,
            "model": model,
            "python": python if isinstance(python, str) else None,
            "address": address if isinstance(address, str) else None,
            "options": options if isinstance(options, dict) else {},
        },
        "ended": ended,
        "finish": finish,
        "error": error,
        "hint": hint,
        "cautions": json.loads(cautions),
        "settings": None if settings is None else json.loads(settings),
        "metrics": None if metrics is None else json.loads(metrics),
    }
    if "request" in known:
        result["request"] = known["request"]
    return json.dumps(result)
