"""`paragone history import`: adds the conversations of a file to the history."""

from __future__ import annotations

from pathlib import Path

from paragone import Json
from paragone.wording import counted
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.output import note, put_json
from paragone_cli.command_line.saved import opened_store
from paragone_cli.recorded.history import HistoryArguments
from paragone_workbench.importing.conversations import (
    FORMATS,
    add_conversation,
    read_conversations,
)
from paragone_workbench.importing.foreign_engines import conversation_actions, remove_secrets


def history_import(args: HistoryArguments) -> int:
    """Add the conversations. Nothing is added if one of them cannot be read. Returns the exit code.

    Opening a conversation opens the engines of its lanes, and a replay those of its runs. What these do elsewhere needs consent
    here, because the history is the user's own from then on. Keys in the file are not kept.
    """
    path = Path(args.only_word(f"a file, which is {FORMATS}"))
    read = list(read_conversations(path))
    context = CommandContext(args)
    for saved in read:
        remove_secrets(saved, context.registry)
    actions = conversation_actions(read, path, context.registry, context.config.models.folders)
    context.consent(path).require(actions)
    with opened_store() as store:
        added = [(saved, add_conversation(store, saved)) for saved in read]
    new = [it.number for _, it in added if it.is_new]
    if args.json:
        listed: list[Json] = [
            {"id": f"c{it.number}", "title": saved.title, "new": it.is_new} for saved, it in added
        ]
        put_json({"imported": listed})
        return 0
    ids = f": c{min(new)} to c{max(new)}" if len(new) > 1 else f": c{new[0]}" if new else ""
    completed = sum(it.is_completed for _, it in added)
    known = len(added) - len(new) - completed
    note(
        f"{counted(len(new), 'conversation')} imported{ids}."
        + (f" {counted(completed, 'conversation')} completed." if completed else "")
        + (f" The history had {counted(known, 'conversation')} already." if known else "")
    )
    return 0
