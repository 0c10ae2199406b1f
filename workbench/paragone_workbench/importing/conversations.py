"""Read conversations from a file of any known format, and add the conversations to the history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from paragone import InputError, Json
from paragone.json_fields import list_at
from paragone.regular_file import open_regular_file
from paragone.wording import quoted
from paragone_workbench.dates import is_date
from paragone_workbench.experiments.replaying.document_reader import read_conversation, read_json
from paragone_workbench.importing import chatgpt, llama_web_ui, lm_studio, open_webui, openai_messages
from paragone_workbench.importing.chat import Chat, conversation_of
from paragone_workbench.importing.databases import database_chats
from paragone_workbench.runs.run import Run
from paragone_workbench.store import SavedConversation, Store
from paragone_workbench.store.recording.changes import Changes
from paragone_workbench.store.recording.whole import save_whole

_READERS: tuple[Callable[[Json], Iterator[Chat]], ...] = (
    chatgpt.chats,
    open_webui.chats,
    llama_web_ui.chats,
    lm_studio.chats,
    openai_messages.chats,
)

FORMATS = (
    "a document of paragone, an export of ChatGPT, Open WebUI or llama-server's web interface, a conversation of LM Studio, "
    "messages in OpenAI's form, or the database of llm or oterm"
)
"""The formats that can be imported, as a part of a sentence."""

_SQLITE = b"SQLite format 3\0"
_ZIP = b"PK\x03\x04"


def read_conversations(path: Path) -> Iterator[SavedConversation]:
    """Yield the conversations in a file. A conversation without a date gets the date of the file.

    Raises InputError if the file cannot be read, or contains no conversation.
    """
    head = _head(path)
    if head.startswith(_ZIP):
        raise InputError(f"{path} is a zip archive.", hint="Unpack it, and import conversations.json in it.")
    if head == _SQLITE:
        found: Iterator[SavedConversation] = (_dated(chat, path) for chat in database_chats(path))
    else:
        found = _in_json(path, read_json(path, hint=f"The file can be {FORMATS}."))
    count = 0
    for conversation in found:
        if conversation.conversation.prompts:
            count += 1
            yield conversation
    if not count:
        raise InputError(
            f"{path} has no conversation that can be imported.", hint=f"The file can be {FORMATS}."
        )


class Added(NamedTuple):
    number: int
    """The number by which users name the conversation: 7 in `c7`."""
    title: str
    is_new: bool
    """Whether the whole conversation is new in the history."""
    is_completed: bool
    """Whether the history had the conversation, but lacked parts that the import has added."""


def add_conversation(store: Store, saved: SavedConversation) -> Added:
    """Add a conversation to the history. If the history already has the conversation, add only the missing parts.

    A longer or complete answer replaces an interrupted answer in the history. Raises StoreError, and InputError if a part
    of the conversation has the id of a part of another conversation, which would be overwritten.
    """
    number = store.number_of(saved.conversation.id)
    known: set[str] = set()
    new_ids = _ids(saved)
    if number is not None:
        here = store.load(number)
        new_ids -= _ids(here)
        imported = {run.id: run for run in saved.runs}
        known = {lane.id for lane in here.lanes} | here.running
        known |= {prompt.id for prompt in here.conversation.prompts}
        known |= {run.id for run in here.runs if not _completes(imported.get(run.id), run)}
    if store.has_any(new_ids):
        raise InputError(
            f"A part of the conversation {quoted(saved.title)} has the id of a part of another conversation in the history.",
            hint="Export the conversation again, where it was written.",
        )
    changes = Changes.of(saved, known)
    saved_as = save_whole(store, changes, saved.title if number is None else "")
    is_completed = number is not None and bool(changes.prompts or changes.lanes or changes.turns)
    return Added(saved_as, saved.title, is_new=number is None, is_completed=is_completed)


def _ids(saved: SavedConversation) -> set[str]:
    parts = {prompt.id for prompt in saved.conversation.prompts} | {lane.id for lane in saved.lanes}
    return parts | {run.id for run in saved.runs}


def _completes(imported: Run | None, here: Run) -> bool:
    """Return whether a run in the history is interrupted, and the same imported run has more text or has ended."""
    if imported is None or here.result.state != "interrupted":
        return False
    more = len(imported.text) - len(here.text), len(imported.result.thinking) - len(here.result.thinking)
    return min(more) >= 0 and (max(more) > 0 or imported.result.state != "interrupted")


def _head(path: Path) -> bytes:
    try:
        with open_regular_file(path) as file:
            return file.read(len(_SQLITE))
    except (OSError, ValueError):
        return b""  # the reader of JSON raises the error


def _in_json(path: Path, data: Json) -> Iterator[SavedConversation]:
    if isinstance(data, Mapping) and "paragone_document" in data:
        for document in list_at(data, "conversations") or [data]:
            yield read_conversation(path, document)
        return
    for chats in _READERS:
        found = list(chats(data))
        if found:
            yield from (_dated(chat, path) for chat in found)
            return


def _dated(chat: Chat, path: Path) -> SavedConversation:
    """Return a chat as a conversation. A chat without a date gets the file's date, a message without a date its chat's date."""
    created = chat.created if chat.created and is_date(chat.created) else path.stat().st_mtime
    messages = [
        message if is_date(message.created) else replace(message, created=None) for message in chat.messages
    ]
    return conversation_of(replace(chat, created=created, messages=messages))
