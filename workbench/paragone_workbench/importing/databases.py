"""Read the databases of two other terminal programs: llm's `logs.db` and oterm's `store.db`."""

from __future__ import annotations

import contextlib
import datetime
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from paragone import Image, InputError, Role
from paragone_workbench.importing.chat import Chat, ChatMessage
from paragone_workbench.importing.foreign_json import image

_LLM = """
    SELECT conversation_id, conversations.name, responses.id, responses.model, prompt, system, response, datetime_utc
    FROM responses JOIN conversations ON conversations.id = conversation_id ORDER BY conversation_id, responses.id
"""
_OTERM = """
    SELECT chat.id, chat.name, message.id, chat.model, chat.system, author, text, images
    FROM message JOIN chat ON chat.id = chat_id ORDER BY chat.id, message.id
"""


def database_chats(path: Path) -> Iterator[Chat]:
    """Yield the conversations of a database.

    Raises InputError if the program that wrote the file is unknown, or if reading it takes too much time or memory.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            _limit(database)
            tables = {
                name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            }
            if {"responses", "conversations"} <= tables:
                yield from _of_llm(database)
            elif {"chat", "message"} <= tables:
                yield from _of_oterm(database)
            else:
                raise InputError(f"{path} is the database of an unknown program.", hint=KNOWN)
    except sqlite3.Error as error:
        is_late = error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
        reason = f"reading it takes more than {LONGEST_S:g} seconds of CPU time" if is_late else str(error)
        raise InputError(f"{path} cannot be read: {reason}.", hint=KNOWN) from error


KNOWN = "The databases of llm (logs.db) and oterm (store.db) can be imported."

LONGEST_S = 30.0
"""Seconds of CPU time that reading may take, because a database can have columns with long computations."""
MOST_MESSAGES = 1_000_000
"""Largest number of messages in a database."""
_LONGEST_TEXT = 2**26
"""Largest number of bytes of a value in a database."""
_STEPS = 100_000
"""Number of SQLite's steps between two checks of the time."""


def _limit(database: sqlite3.Connection) -> None:
    """Limit the time and the memory for reading a database that may come from somebody else."""
    end = time.process_time() + LONGEST_S
    database.execute("PRAGMA trusted_schema = OFF")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_TEXT)
    database.set_progress_handler(lambda: time.process_time() > end, _STEPS)
    database.text_factory = lambda content: content.decode(errors="replace")


def _rows(database: sqlite3.Connection, query: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a query with all values as texts; a blob or a null becomes an empty text. Raises InputError."""
    for number, row in enumerate(database.execute(query)):
        if number == MOST_MESSAGES:
            raise InputError(f"The database has more than {MOST_MESSAGES:,} messages.", hint=KNOWN)
        yield tuple("" if value is None or isinstance(value, bytes) else str(value) for value in row)


def _of_llm(database: sqlite3.Connection) -> Iterator[Chat]:
    chats: dict[str, tuple[str, float, list[ChatMessage]]] = {}
    for chat_id, name, response_id, model, prompt, system, response, written in _rows(database, _LLM):
        created = _seconds(written)
        messages = chats.setdefault(chat_id, (name, created, []))[2]
        exchanged: dict[Role, str] = {"system": system, "user": prompt, "assistant": response}
        for role, content in exchanged.items():
            if content or role != "system":
                messages.append(
                    ChatMessage(
                        id=f"{response_id} {role}",
                        parent=messages[-1].id if messages else None,
                        role=role,
                        text=content,
                        model=model,
                        created=created,
                    )
                )
    for chat_id, (name, created, messages) in chats.items():
        yield Chat(source="llm", id=chat_id, title=name, created=created, messages=messages)


def _of_oterm(database: sqlite3.Connection) -> Iterator[Chat]:
    chats: dict[str, tuple[str, list[ChatMessage]]] = {}
    for chat_id, name, message_id, model, system, author, content, images in _rows(database, _OTERM):
        messages = chats.setdefault(chat_id, (name, []))[1]
        if system and not messages:
            messages.append(ChatMessage(id="system", parent=None, role="system", text=system))
        messages.append(
            ChatMessage(
                id=message_id,
                parent=messages[-1].id if messages else None,
                role="user" if author == "user" else "assistant",
                text=content,
                model=model,
                images=tuple(_images(images)),
            )
        )
    for chat_id, (name, messages) in chats.items():
        first = next((message.text for message in messages if message.role == "user"), "")
        yield Chat(source="oterm", id=f"{chat_id} {first}", title=name, created=0.0, messages=messages)


def _images(listed: str) -> Iterator[Image]:
    """Yield the images of a message of oterm: a list of base64 without media types, so the first bytes tell PNG from JPEG."""
    with contextlib.suppress(ValueError, TypeError):
        for data in json.loads(listed or "[]"):
            kind = "png" if str(data).startswith("iVBOR") else "jpeg"
            if (found := image(f"data:image/{kind};base64,{data}")) is not None:
                yield found


def _seconds(text: str) -> float:
    """Return a time in UTC as seconds since 1970; 0 if the text is not a time."""
    with contextlib.suppress(ValueError, OverflowError):
        found = datetime.datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
    return 0.0
