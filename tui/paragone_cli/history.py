"""`paragone history`: lists conversations, or the prompts and runs of one, with the ids for other commands."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import InputError, Json
from paragone_cli.arguments import Arguments
from paragone_cli.compare import figures
from paragone_cli.event_loop import run
from paragone_cli.formats import date
from paragone_cli.output import note, one_line, put, put_json, put_table, warn
from paragone_workbench.compare.answers import answer_json
from paragone_workbench.experiments.ids import Id, parse_id
from paragone_workbench.runs.run import Run
from paragone_workbench.store import History, SavedConversation, Summary

__all__ = ["history"]

_WORDS = 60
"""Characters of a text that are shown."""


def history(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    if args.limit < 1:
        raise InputError("The limit must be 1 or more.")
    return run(_history(args))


async def _history(args: Arguments) -> int:
    opened = await History.open()
    try:
        if opened.warning:
            warn(opened.warning)
        if args.target is None:
            found = await opened.conversations(args.limit)
            _list(found, as_json=args.json)
            if not found and not args.json:
                await _note_empty(opened)
        else:
            named = parse_id(args.target)
            if named is None or named.kind != "c":
                raise _not_a_conversation(args.target, named)
            _show(await opened.load(named.number), as_json=args.json)
    finally:
        await opened.close()
    return 0


def _not_a_conversation(target: str, named: Id | None) -> InputError:
    hint = "Write c7, for example. `paragone history` lists the conversations, `paragone suite list` the experiments."
    if named is not None and named.kind == "e":
        hint = f"`paragone suite show e{named.number}` shows an experiment."
    return InputError(f"{target!r} is not the id of a conversation.", hint=hint)


async def _note_empty(opened: History) -> None:
    count = len(await opened.call(lambda store: store.experiments.all()))
    experiments = f"{count:,} {'experiment' if count == 1 else 'experiments'}"
    more = f", but {experiments}, which `paragone suite list` lists" if count else ""
    note(f"The history has no conversations yet{more}.")


def _list(found: Sequence[Summary], *, as_json: bool) -> None:
    if as_json:
        put_json({"conversations": [_summary(it) for it in found]})
        return
    if not found:
        return
    rows = [
        (f"c{it.number}", date(it.updated), str(it.prompts), ", ".join(it.engines), _first(it.title))
        for it in found
    ]
    put_table([("ID", "LAST USED", "PROMPTS", "ENGINES", "TITLE"), *rows])


def _summary(it: Summary) -> dict[str, Json]:
    return {
        "id": f"c{it.number}",
        "title": it.title,
        "engines": list(it.engines),
        "prompts": it.prompts,
        "updated": it.updated,
    }


def _show(saved: SavedConversation, *, as_json: bool) -> None:
    prompts = saved.conversation.prompts
    if as_json:
        put_json(
            {
                "id": f"c{saved.conversation.number}",
                "title": saved.title,
                "prompts": [
                    {
                        "text": prompt.text,
                        "runs": [_run(saved, run) for run in saved.runs if run.prompt is prompt],
                    }
                    for prompt in prompts
                ],
            }
        )
        return
    for prompt in prompts:
        put(one_line(f"> {_first(prompt.text)}"))
        for run_ in saved.runs:
            if run_.prompt is prompt:
                result = run_.result
                words = _first(result.text) if not result.error else result.message
                put(one_line(f"  r{run_.number}  {result.definition.name}  {_state(saved, run_)}  {words}"))
                if result.metrics is not None:
                    put(f"      {figures(result.metrics)}")


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
    line = " ".join(text.split())
    return line if len(line) <= _WORDS else f"{line[:_WORDS]}…"
