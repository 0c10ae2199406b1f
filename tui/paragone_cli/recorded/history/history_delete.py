"""`paragone history delete`: deletes conversations, after the user has confirmed it."""

from __future__ import annotations

from paragone import InputError
from paragone.wording import counted
from paragone_cli.command_line.output import note, put_result
from paragone_cli.command_line.question import confirmed, require_answer
from paragone_cli.command_line.saved import conversation_id, opened_store
from paragone_cli.recorded.history import HistoryArguments


def history_delete(args: HistoryArguments) -> int:
    """Delete the conversations, all or none. Returns the exit code."""
    if not args.operands:
        raise InputError("Name the conversations to delete, such as c7.")
    numbers = dict.fromkeys(map(conversation_id, args.operands))
    with opened_store() as store:
        found = [store.load(number) for number in numbers]
        if not args.yes:
            require_answer()
            for saved in found:
                prompts = counted(len(saved.conversation.prompts), "prompt")
                note(f"c{saved.conversation.number} · {saved.title} · {prompts}")
            if not confirmed("Delete for good?"):
                note("Nothing was deleted.")
                return 1
        for number in numbers:
            store.delete_conversation(number)
    data = {"deleted": [f"c{number}" for number in numbers]}
    put_result(data, f"{counted(len(numbers), 'conversation')} deleted.", as_json=args.json)
    return 0
