"""`paragone history import`: adds the conversations of a file, or the prompt of an experiment, to the history."""

from __future__ import annotations

from pathlib import Path

from paragone import Json
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.output import put_result, warn
from paragone_cli.command_line.saved import opened_store
from paragone_cli.recorded.history import HistoryArguments
from paragone_workbench.experiments.ids import parse_id
from paragone_workbench.importing.conversations import FORMATS
from paragone_workbench.importing.import_file import import_file, import_text
from paragone_workbench.store import Store


def history_import(args: HistoryArguments) -> int:
    """Add the conversations, or none if one of them cannot be read. Returns the exit code."""
    word = args.only_word(f"a file, which is {FORMATS}; or an answer of an experiment, such as e3/17")
    found = parse_id(word)
    if found is not None and found.kind == "e" and found.run is not None:
        return _import_prompt(args, found.number, found.run)
    path = Path(word)
    context = CommandContext(args)
    imported = import_file(
        path, _open, context.registry, context.config.models.folders, context.consent(path).require
    )
    listed: list[Json] = [{"id": f"c{one.number}", "title": one.title, "new": one.is_new} for one in imported]
    put_result({"imported": listed}, import_text(imported), as_json=args.json)
    return 0


def _import_prompt(args: HistoryArguments, experiment: int, run: int) -> int:
    from paragone_workbench.importing.from_experiment import add_prompt

    with opened_store() as store:
        added = add_prompt(store, experiment, run)
    data: dict[str, Json] = {
        "imported": [{"id": f"c{added.number}", "title": added.title, "new": added.is_new}]
    }
    sentence = f"The prompt of e{experiment}/{run} is the conversation c{added.number}."
    put_result(data, sentence, as_json=args.json)
    return 0


def _open() -> Store:
    store = Store.open()
    if store.warning:
        warn(store.warning)
    return store
