"""Conversations in the databases of other programs: llm's logs.db and oterm's store.db."""

import contextlib
import datetime
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from paragone import Image, InputError, Json, Role
from paragone.json_values import list_at, number_at, text_at
from paragone.texts import quoted
from paragone.wire import parse_json
from paragone_workbench.files.other_programs import Chat, ChatMessage, image, role_of

KNOWN = "The databases of llm (logs.db) and oterm (store.db) can be imported."

MOST_MESSAGES = 1_000_000
"""Largest number of messages in a database."""
MOST_TEXT = 2**28
"""Largest number of characters of a conversation in a database."""
_LONGEST_TEXT = 2**26
"""Largest number of bytes of a value in a database."""

SQLITE = b"SQLite format 3\0"
"""The beginning of each database."""

_Row: TypeAlias = tuple[str, ...]


def database_chats(path: Path) -> Iterator[Chat]:
    """Yield the conversations of a database one at a time. Raises InputError if its program is unknown, or it is damaged
    or takes too much memory."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_TEXT)
            database.text_factory = lambda content: content.decode(errors="replace")
            tables = _tables(database)
            readers = [read for names, read in _DATABASES if names <= tables]
            if not readers:
                found = f": it has the tables {', '.join(map(quoted, sorted(tables)[:8]))}" if tables else ""
                raise InputError(f"{path} is the database of an unknown program{found}.", hint=KNOWN)
            for read in readers:
                yield from read(database)
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be read: {error}.", hint=KNOWN) from error


def _tables(database: sqlite3.Connection) -> set[str]:
    """Return the names of the tables whose columns are all stored. A view or a computed column of a small file may
    yield gigabytes."""
    tables = [
        name
        for (name,) in database.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0"
        )
    ]
    computed = "SELECT 1 FROM pragma_table_xinfo(?) WHERE hidden"
    return {name for name in tables if not database.execute(computed, (name,)).fetchone()}


def _rows(database: sqlite3.Connection, query: str, *values: str) -> Iterator[_Row]:
    """Yield the rows of a query with all values as texts; a blob or a null becomes an empty text. Raises InputError."""
    for number, row in enumerate(database.execute(query, values)):
        if number == MOST_MESSAGES:
            raise InputError(f"The database has more than {MOST_MESSAGES:,} messages.", hint=KNOWN)
        yield tuple("" if value is None or isinstance(value, bytes) else str(value) for value in row)


def _names(database: sqlite3.Connection, table: str) -> dict[str, str]:
    return {row[0]: row[1] for row in _rows(database, f"SELECT id, name FROM {table}")}  # noqa: S608 (a constant)


def _by_chat(rows: Iterator[_Row]) -> Iterator[tuple[str, Iterator[_Row]]]:
    """Group rows, which begin with the ids of a conversation and of a message. A message without a conversation
    becomes its own conversation."""
    for chat_id, group in itertools.groupby(rows, lambda row: row[0] or row[1]):
        yield chat_id, _bounded(group)


def _bounded(rows: Iterator[_Row], size: int = 0) -> Iterator[_Row]:
    """Yield further rows of a conversation, which has `size` characters so far. Raises InputError if it gets too large."""
    for row in rows:
        size += sum(map(len, row))
        if size > MOST_TEXT:
            raise InputError(f"A conversation has more than {MOST_TEXT:,} characters.", hint=KNOWN)
        yield row


def _of_llm(database: sqlite3.Connection) -> Iterator[Chat]:
    """Yield the conversations that versions of llm before 0.36 have logged."""
    names = _names(database, "conversations")
    rows = _rows(
        database,
        "SELECT conversation_id, id, model, prompt, system, response, datetime_utc FROM responses ORDER BY 1, 2",
    )
    for chat_id, responses in _by_chat(rows):
        messages: list[ChatMessage] = []
        for _, response_id, model, prompt, system, response, written in responses:
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
                            created=_seconds(written),
                        )
                    )
        created = messages[0].created or 0.0
        yield Chat(source="llm", id=chat_id, title=names.get(chat_id, ""), created=created, messages=messages)


def _of_llm_threads(database: sqlite3.Connection) -> Iterator[Chat]:
    """Yield the conversations that llm 0.36 has logged: messages form trees, and threads and turns refer to branches
    of the trees."""
    names = _names(database, "threads")
    rows = _rows(
        database, "SELECT thread_id, id, tip_message_hash, model, datetime_utc FROM turns ORDER BY 1, 2"
    )
    for thread_id, turns in _by_chat(rows):
        messages: list[ChatMessage] = []
        shown: dict[str, str | None] = {"": None}
        """For a message, the nearest message with a text: itself or a message before it."""
        current, created, size = "", 0.0, 0
        for _, _, current, model, written in turns:
            created = created or _seconds(written)
            new: list[_Row] = []
            at, met = current, set[str]()
            while at not in shown and at not in met:
                met.add(at)
                found = next(
                    _rows(database, "SELECT parent_hash, role FROM messages WHERE hash = ?", at), ("", "")
                )
                new.append((at, *found))
                at = found[0]
            for message_id, parent, role in reversed(new):
                texts = list(_bounded(_llm_parts(database, message_id), size))
                size += sum(len(text) for _, text in texts)
                content = "".join(text for kind, text in texts if kind == "text")
                shown[message_id] = shown.get(parent)
                if role in ("system", "user", "assistant") and content:
                    thinking = "".join(text for kind, text in texts if kind == "reasoning")
                    message = ChatMessage(
                        id=message_id,
                        parent=shown[message_id],
                        role=role_of(role),
                        text=content,
                        thinking=thinking,
                        model=model,
                        created=_seconds(written),
                    )
                    messages.append(message)
                    shown[message_id] = message_id
        yield Chat(
            source="llm",
            id=thread_id,
            title=names.get(thread_id, ""),
            created=created,
            messages=messages,
            current=shown.get(current),
        )


_PARTS = "SELECT type, text, payload FROM parts WHERE message_hash = ? ORDER BY position"


def _llm_parts(database: sqlite3.Connection, message_id: str) -> Iterator[_Row]:
    """Yield the kind and the text of each part of a message; a text may consist of literals and fragments."""
    for kind, text, payload in _rows(database, _PARTS, message_id):
        yield kind, text
        for piece in list_at(_parsed(payload), "text_ref"):
            yield kind, text_at(piece, "literal")
            if (number := number_at(piece, "fragment")) is not None:
                for (content,) in _rows(
                    database, "SELECT content FROM fragments WHERE id = CAST(? AS INTEGER)", str(number)
                ):
                    yield kind, content


def _of_oterm(database: sqlite3.Connection) -> Iterator[Chat]:
    chats = {row[0]: row for row in _rows(database, "SELECT id, name, model, system FROM chat")}
    rows = _rows(database, "SELECT chat_id, id, author, text, images FROM message ORDER BY chat_id, id")
    for chat_id, listed in _by_chat(rows):
        _, name, model, system = chats.get(chat_id, (chat_id, "", "", ""))
        messages = [ChatMessage(id="system", parent=None, role="system", text=system)] if system else []
        for _, message_id, author, content, images in listed:
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
        first = next((message.text for message in messages if message.role == "user"), "")
        yield Chat(source="oterm", id=f"{chat_id} {first}", title=name, created=0.0, messages=messages)


_DATABASES: tuple[tuple[set[str], Callable[[sqlite3.Connection], Iterator[Chat]]], ...] = (
    ({"responses", "conversations"}, _of_llm),
    ({"threads", "turns", "messages", "parts", "fragments"}, _of_llm_threads),
    ({"chat", "message"}, _of_oterm),
)
"""The tables that each program's database has, and the reader of its conversations."""


def _parsed(text: str) -> Json:
    with contextlib.suppress(ValueError):
        return parse_json(text.encode())
    return None


def _images(listed: str) -> Iterator[Image]:
    """Yield the images of a message of oterm: a list of base64 without media types, so the first bytes distinguish
    PNG from JPEG."""
    for data in list_at(_parsed(listed)):
        kind = "png" if str(data).startswith("iVBOR") else "jpeg"
        if (found := image(f"data:image/{kind};base64,{data}")) is not None:
            yield found


def _seconds(text: str) -> float:
    """Return a time in UTC as seconds since 1970; 0 if the text is not a time."""
    with contextlib.suppress(ValueError, OverflowError):
        found = datetime.datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
    return 0.0
