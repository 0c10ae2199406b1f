"""Import a file into the history: read the file, remove keys, ask for consent, and add new conversations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from paragone.wording import counted
from paragone_workbench.engines.registry import Registry
from paragone_workbench.importing.conversations import Added, add_conversation, read_conversations
from paragone_workbench.importing.foreign_engines import conversation_actions, remove_secrets
from paragone_workbench.store import Store


def import_file(
    path: Path,
    open_store: Callable[[], Store],
    registry: Registry,
    folders: Sequence[str],
    require_consent: Callable[[Sequence[str]], None],
) -> tuple[Added, ...]:
    """Add the conversations of a file to the history. If a conversation cannot be read, no conversation is added.

    Opening an imported conversation opens its lanes' engines, and a replay opens its runs' engines, both without a question.
    The import therefore asks for consent to the engines' actions: `require_consent` receives the actions, and raises InputError without
    consent. Keys in the file are not kept. `folders` are the user's folders of models. Blocks. Raises ParagoneError.
    """
    read = list(read_conversations(path))
    for saved in read:
        remove_secrets(saved, registry)
    require_consent(conversation_actions(read, path, registry, folders))
    with contextlib.closing(open_store()) as store:
        return tuple(add_conversation(store, saved) for saved in read)


def import_text(added: Sequence[Added]) -> str:
    """Return sentences with the numbers of conversations that are new, completed, and already in the history."""
    new = [one.number for one in added if one.is_new]
    ids = f": c{min(new)} to c{max(new)}" if len(new) > 1 else f": c{new[0]}" if new else ""
    completed = sum(one.is_completed for one in added)
    known = sum(not (one.is_new or one.is_completed) for one in added)
    return (
        f"{counted(len(new), 'conversation')} imported{ids}."
        + (f" {counted(completed, 'conversation')} completed." if completed else "")
        + (f" The history had {counted(known, 'conversation')} already." if known else "")
    )
