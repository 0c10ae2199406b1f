"""`paragone history rename`: gives a conversation another title."""

from __future__ import annotations

from paragone import InputError
from paragone_cli.command_line.output import note
from paragone_cli.command_line.saved import conversation_id, opened_store
from paragone_cli.recorded.history import HistoryArguments


def history_rename(args: HistoryArguments) -> int:
    """Change the title. Returns the exit code."""
    title = " ".join(args.operands[1:]).strip()
    if not title:
        raise InputError(
            "A conversation and its new title are needed.",
            hint="Write for example: paragone history rename c7 Colours",
        )
    number = conversation_id(args.operands[0])
    with opened_store() as store:
        store.rename_conversation(number, title)
    note(f"c{number} has the new title.")
    return 0
