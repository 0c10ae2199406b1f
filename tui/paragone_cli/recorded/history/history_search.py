"""`paragone history search`: finds prompts and answers by their words."""

from __future__ import annotations

from paragone import InputError, Json
from paragone_cli.command_line.formats import date
from paragone_cli.command_line.output import note, put_json, put_table
from paragone_cli.command_line.saved import opened_store
from paragone_cli.recorded.history import HistoryArguments
from paragone_workbench.store.records import Hit


def history_search(args: HistoryArguments) -> int:
    """Print the prompts, answers and titles with these words, the newest first. Returns the exit code."""
    text = " ".join(args.operands)
    if not text.strip():
        raise InputError(
            "No words to search for were given.", hint="Write for example: paragone history search colour"
        )
    with opened_store() as store:
        hits = store.search(text, args.most)
    if args.json:
        put_json({"hits": [_json(hit) for hit in hits]})
    elif hits:
        rows = [(hit.id, date(hit.time), _by(hit), hit.snippet) for hit in hits]
        put_table([("ID", "TIME", "BY", "TEXT"), *rows])
    else:
        note("No prompt, no answer and no title has all of these words.")
    return 0


def _by(hit: Hit) -> str:
    """Return where the words were found: the engine that gave the answer, or `title` or `prompt`."""
    if hit.engine:
        return hit.engine
    return "title" if hit.prompt_id is None else "prompt"


def _json(hit: Hit) -> dict[str, Json]:
    return {
        "id": hit.id,
        "title": hit.title,
        "engine": hit.engine,
        "text": hit.snippet,
        "marks": [list(mark) for mark in hit.marks],
        "time": hit.time,
    }
