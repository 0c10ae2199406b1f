"""`paragone history rename`, `tag`, `pin` and `unpin`: change how conversations are listed."""

from __future__ import annotations

from paragone import InputError
from paragone_cli.command_line.output import put_result
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
        store.labels.rename(number, title)
        saved_as = store.summaries([number])[number].title
    data = {"id": f"c{number}", "title": saved_as}
    put_result(data, f"c{number} has the new title.", as_json=args.json)
    return 0


def history_tag(args: HistoryArguments) -> int:
    """Replace the tags of a conversation, or remove the tags if no new tags are given. Returns the exit code."""
    if not args.operands:
        raise InputError(
            "A conversation is needed, and its tags.", hint="Write for example: paragone history tag c7 work"
        )
    number = conversation_id(args.operands[0])
    with opened_store() as store:
        store.labels.tag(number, args.operands[1:])
        tags = store.summaries([number])[number].tags
    sentence = f"c{number} has the tags {', '.join(tags)}." if tags else f"c{number} has no tags."
    put_result({"id": f"c{number}", "tags": list(tags)}, sentence, as_json=args.json)
    return 0


def history_pin(args: HistoryArguments) -> int:
    """Pin or unpin a conversation. Pinned conversations are listed before all others. Returns the exit code."""
    number = conversation_id(args.only_word("a conversation, such as c7"))
    is_pinned = args.action == "pin"
    with opened_store() as store:
        store.labels.pin(number, pinned=is_pinned)
    sentence = f"c{number} is {'listed first' if is_pinned else 'no longer listed first'}."
    put_result({"id": f"c{number}", "pinned": is_pinned}, sentence, as_json=args.json)
    return 0


history_unpin = history_pin
"""`history_pin` reads in `args.action` whether to pin or to unpin."""
