"""`paragone history list` and `show`: list conversations, and the prompts and runs of a conversation, with the ids for other commands."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import InputError, Json
from paragone.wording import counted, quoted
from paragone_cli.command_line.formats import date, metrics_text
from paragone_cli.command_line.output import note, put, put_json, put_line, put_table, shortened
from paragone_cli.command_line.saved import conversation_id, opened_store
from paragone_cli.recorded.history import HistoryArguments
from paragone_workbench.compare.answers import answer_json
from paragone_workbench.runs.run import Run
from paragone_workbench.store import SavedConversation, Store, Summary
from paragone_workbench.store.query import FILTERS, Query, read_query

_TEXT_WIDTH = 61
"""Largest width of a text, in cells."""


def history_list(args: HistoryArguments) -> int:
    """Print the newest conversations. Returns the exit code."""
    query = _filters(args.operands)
    with opened_store() as store:
        found = store.conversations(args.most, query=query)
        if args.json:
            put_json({"conversations": [_summary(summary) for summary in found]})
        elif found:
            put_table([("ID", "LAST USED", "PROMPTS", "ENGINES", "TITLE"), *map(_row, found)])
        elif args.operands:
            note("No conversation fits these filters.")
        else:
            _note_empty(store)
    return 0


def _filters(words: Sequence[str]) -> Query:
    """Return the query for the filters in the words after `list`. Raises InputError if a word is not a filter."""
    query = read_query(" ".join(words))
    if query.words:
        raise InputError(
            f"{quoted(query.words[0])} is not a filter.",
            hint=f"`paragone history list` takes {', '.join(f'{name}:…' for name in FILTERS)}; "
            "`paragone history search` finds words.",
        )
    return query


def history_show(args: HistoryArguments) -> int:
    """Print the prompts and runs of a conversation. Returns the exit code."""
    number = conversation_id(args.only_word("a conversation, such as c7"))
    with opened_store() as store:
        _show(store.load(number), as_json=args.json)
    return 0


def _note_empty(store: Store) -> None:
    count = len(store.experiments.all())
    more = f", but {counted(count, 'experiment')}, which `paragone suite list` lists" if count else ""
    note(f"The history has no conversations yet{more}.")


def _row(summary: Summary) -> tuple[str, ...]:
    return (
        f"c{summary.number}",
        date(summary.updated),
        str(summary.prompts),
        ", ".join(summary.engines),
        _first(" ".join((summary.title, *_labels(summary)))),
    )


def _labels(summary: Summary) -> list[str]:
    """Return the tags of a conversation, and whether it is pinned or interrupted."""
    labels = [f"#{tag}" for tag in summary.tags]
    return labels + ["(pinned)"] * summary.is_pinned + ["(interrupted)"] * summary.is_interrupted


def _summary(summary: Summary) -> dict[str, Json]:
    return {
        "id": f"c{summary.number}",
        "title": summary.title,
        "engines": list(summary.engines),
        "prompts": summary.prompts,
        "updated": summary.updated,
        "tags": list(summary.tags),
        "pinned": summary.is_pinned,
        "interrupted": summary.is_interrupted,
    }


def _show(saved: SavedConversation, *, as_json: bool) -> None:
    prompts = [
        (prompt, [answer for answer in saved.runs if answer.prompt is prompt])
        for prompt in saved.conversation.prompts
    ]
    if as_json:
        listed: list[Json] = [
            {
                "text": prompt.text,
                "files": [{"name": file.name, "size": file.size} for file in prompt.files],
                "runs": [_run(saved, answer) for answer in runs],
            }
            for prompt, runs in prompts
        ]
        put_json({"id": f"c{saved.conversation.number}", "title": saved.title, "prompts": listed})
        return
    for prompt, runs in prompts:
        put_line(f"> {_first(prompt.written)}")
        for name in (*(file.label for file in prompt.files), *(image.name for image in prompt.images)):
            put_line(f"  [{name}]")
        for answer in runs:
            result = answer.result
            words = result.message if result.error else _first(result.text)
            put_line(f"  r{answer.number}  {result.definition.name}  {_state(saved, answer)}  {words}")
            if result.metrics is not None:
                put(f"      {metrics_text(result.metrics)}")


def _run(saved: SavedConversation, run: Run) -> dict[str, Json]:
    return {
        "id": f"r{run.number}",
        "state": _state(saved, run),
        "started": run.result.started,
        **answer_json(run.result, with_tokens=False),
    }


def _state(saved: SavedConversation, run: Run) -> str:
    return "running" if run.id in saved.running else run.state


def _first(text: str) -> str:
    return shortened(" ".join(text.split()), _TEXT_WIDTH)
