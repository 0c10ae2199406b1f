"""`paragone history export`: writes conversations into a file that people read, or that can be imported."""

from __future__ import annotations

from paragone import InputError, Json
from paragone_cli.command_line.output import note, put_result, warn
from paragone_cli.command_line.saved import conversation_id, opened_store
from paragone_cli.recorded.history import HistoryArguments
from paragone_workbench.engines.registry import Registry
from paragone_workbench.exporting.conversations import export_conversations


def history_export(args: HistoryArguments) -> int:
    """Write the file. Returns the exit code."""
    if args.to is None:
        raise InputError(
            "An export needs a file to be written to.",
            hint="Write for example: paragone history export c7 --to chat.md",
        )
    if args.all == bool(args.operands):
        raise InputError("Name the conversations to export, such as c7, or write --all.")
    numbers = None if args.all else [conversation_id(operand) for operand in args.operands]
    with opened_store() as store:
        exported = export_conversations(store, args.to, numbers, Registry(note).find, replaces=args.force)
    for sentence in exported.left_out:
        warn(sentence)
    data: dict[str, Json] = {
        "file": str(exported.path),
        "exported": [f"c{number}" for number in exported.numbers],
        "bytes": exported.size,
    }
    put_result(data, str(exported), as_json=args.json)
    return int(bool(exported.left_out))
