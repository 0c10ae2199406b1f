"""The table of runs, their tokens and costs. Only this module writes and reads results of runs."""

import dataclasses
import functools
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from paragone import Alternative, Json, Token
from paragone.texts import without_keys
from paragone.wire import from_json, to_json
from paragone_workbench.engines.definitions import without_literal_keys
from paragone_workbench.runs.result import MOST_TOKENS, Costs, RunResult
from paragone_workbench.store.database import Database, Row, clean, object_in

_LINE = 200
"""Number of tokens in a line of JSON: a call of the encoder or decoder blocks all other threads, so each call must be short."""


def pack(tokens: Sequence[Token]) -> bytes:
    """Return the tokens as bytes. `_row` defines the order of a token's fields."""
    lines = (tokens[start : start + _LINE] for start in range(0, len(tokens), _LINE))
    text = "\n".join(json.dumps(list(map(_row, line)), separators=(",", ":")) for line in lines)
    return zlib.compress(text.encode("ascii"))


def unpack(data: bytes) -> tuple[Token, ...]:
    """Return the tokens that `pack` has packed. Raises ValueError, among others, if the data is damaged."""
    try:
        text = zlib.decompress(data)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return tuple(
        Token(
            text=piece,
            channel=channel,
            id=token_id,
            logprob=logprob,
            n_bytes=n_bytes,
            time=time,
            top=tuple(
                Alternative(text=other, id=other_id, logprob=other_logprob)
                for other, other_id, other_logprob in top
            ),
        )
        for line in text.splitlines()
        for piece, channel, token_id, logprob, n_bytes, time, top in json.loads(line)
    )


def _row(token: Token) -> tuple[object, ...]:
    top = [(other.text, other.id, other.logprob) for other in token.top]
    return token.text, token.channel, token.id, token.logprob, token.n_bytes, token.time, top


_PROMPT, _CACHED, _COMPLETION = (
    f"CASE WHEN {column} BETWEEN 0 AND {MOST_TOKENS} THEN {column} END"
    for column in ("prompt_tokens", "cached_tokens", "completion_tokens")
)
_SUMS = {
    "runs": "count(*)",
    "prompt_tokens": f"CAST(total({_PROMPT}) AS INTEGER)",
    "cached_tokens": f"CAST(total({_CACHED}) AS INTEGER)",
    "completion_tokens": f"CAST(total({_COMPLETION}) AS INTEGER)",
    "seconds": "total(max(0, ifnull(ended, started) - started - ifnull(waited_s, 0)))",
    "estimated": "count(CASE WHEN estimated THEN 1 END)",
    "uncounted": f"count(CASE WHEN {_PROMPT} + {_COMPLETION} IS NULL THEN 1 END)",
}
"""The fields of `Costs`, each as SQL. SQLite's `sum` would fail if a sum of whole numbers exceeded 64 bits; `total` does
not."""
_DELETED = """
    SELECT run.number FROM every_conversation AS gone JOIN prompt ON conversation_id = gone.id
    JOIN turn ON prompt_id = prompt.id JOIN run ON run.id = run_id
    WHERE gone.deleted IS NOT NULL AND NOT EXISTS (SELECT 1 FROM cell WHERE cell.run_id = run.id)
"""
_COSTS = f"""
    SELECT engine, {", ".join(_SUMS.values())} FROM run INDEXED BY run_costs
    WHERE state != 'running' AND started >= ? AND (waited_s IS NOT NULL OR completion_tokens IS NOT NULL)
      AND number NOT IN ({_DELETED})
    GROUP BY engine ORDER BY engine
"""  # noqa: S608 (the names of columns)


def costs(database: Database, since: float) -> Mapping[str, Costs]:
    return {
        engine if isinstance(engine, str) else "?": Costs(**dict(zip(_SUMS, sums, strict=True)))
        for engine, *sums in database.stream(_COSTS, since)
    }


Purpose: TypeAlias = Literal["answer", "judge", "replay"]

COLUMNS = "run.id, run.state, run.started, run.text, run.thinking, run.result, manifest.data, run.tokens"
"""The columns that `result_of` needs, from the table `run` with the join `MANIFEST`."""
MANIFEST = "LEFT JOIN manifest ON manifest.sha256 = run.manifest"

_CHANGED = "state, engine, result, manifest, tokens, owner_id"
"""The columns that change while a run is in progress. The text is in `piece` until the end of the run."""

# Not a single statement with ON CONFLICT: an attempt to insert would use up a number.
_UPDATE = f"UPDATE run SET ({_CHANGED}) = (?, ?, ?, ?, ?, ?) WHERE id = ? RETURNING number"  # noqa: S608 (the names of columns)
_INSERT = f"""
    INSERT INTO run ({_CHANGED}, id, started, purpose, about_id, text, thinking)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    RETURNING number
"""  # noqa: S608 (the names of columns)


def save_run(
    database: Database,
    result: RunResult,
    *,
    purpose: Purpose = "answer",
    about_id: str | None = None,
    owner_id: int | None = None,
) -> int:
    """Write a run or its new state in a transaction, and return its number. `about_id` is the run that is judged or
    repeated; `owner_id` is the instance that executes it."""
    running = result.state == "running"
    values = (
        result.state,
        clean(result.definition.name),
        json.dumps(_own_part(result)),
        _save_manifest(database, result.common_manifest),
        pack(result.tokens) if result.tokens and not running else None,
        owner_id if running else None,
        result.id,
    )
    # While a run is in progress, its text is in `piece`, and `_UPDATE` leaves the run's own text unchanged. Another instance of
    # the program that wrongly assumed that this one had ended has moved the text saved so far from `piece` into the run.
    text, thinking = ("", "") if running else (clean(result.text), clean(result.thinking))
    rows = database.rows(_UPDATE, *values)
    if not rows:
        rows = database.rows(_INSERT, *values, result.started, purpose, about_id, text, thinking)
    elif not running:
        database.run("UPDATE run SET text = ?, thinking = ? WHERE id = ?", text, thinking, result.id)
        database.run("DELETE FROM piece WHERE run_id = ?", result.id)
    return int(rows[0][0])


def result_of(row: Row) -> RunResult:
    run_id, state, started, text, thinking, own, manifest, tokens = row
    data = object_in(own)
    known = {} if manifest is None else _manifest_in(manifest)
    if "request" in data:
        known = {**known, "request": data.pop("request")}
    columns = {"id": run_id, "state": state, "started": started, "text": text, "thinking": thinking}
    result = from_json(RunResult, {**data, **columns, "manifest": known})
    return result if tokens is None else dataclasses.replace(result, tokens=unpack(tokens))


@functools.lru_cache(maxsize=64)
def _manifest_in(data: str) -> Mapping[str, Json]:
    """Return the part of a manifest that runs have in common; cached, since consecutive runs often share this part."""
    return object_in(data)


def _own_part(result: RunResult) -> dict[str, Json]:
    """Return the result as JSON, without fields that have their own columns, and without the shared part of the manifest."""
    settings = result.settings
    own = to_json(
        dataclasses.replace(
            result,
            definition=without_literal_keys(result.definition),
            error=without_keys(clean(result.error)),
            hint=without_keys(clean(result.hint)),
            settings=None if settings is None else dataclasses.replace(settings, prompt_ids=None),
            text="",
            thinking="",
            tokens=(),
            manifest={},
        )
    )
    for name in ("id", "state", "started", "manifest"):
        own.pop(name, None)
    if "request" in result.manifest:
        own["request"] = result.manifest["request"]
    return own


def _save_manifest(database: Database, common: Mapping[str, Json]) -> str | None:
    """Save the part of a manifest that runs have in common, unless it is saved already. Returns the digest of the part."""
    if not common:
        return None
    data = json.dumps(common, sort_keys=True)
    digest = hashlib.sha256(data.encode()).hexdigest()
    database.run("INSERT OR IGNORE INTO manifest (sha256, data) VALUES (?, ?)", digest, data)
    return digest
