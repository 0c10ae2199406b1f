"""Suites of what other programs have written: conversations, logs of servers, and questions with expected answers. Every
turn of a conversation becomes a prompt with the recorded past before it, and with the recorded answer beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from itertools import count, zip_longest
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from paragone import InputError, Json, Message, files
from paragone.texts import counted
from paragone_workbench.engines.definitions import BackendLookup, suggest
from paragone_workbench.experiments.suite_file import SuiteEntry, entry_of, parse_json
from paragone_workbench.files import other_programs
from paragone_workbench.lanes.lane import names_of
from paragone_workbench.paths import check_target, replacing
from paragone_workbench.runs.context import messages_for
from paragone_workbench.store import Store

FORMATS = "conversations"

_Item: TypeAlias = "tuple[int, Callable[[], Json]]"
"""The line of an item in a file, and a function that reads the item, or raises InputError."""


@dataclass(eq=False)
class SuiteImport:
    """What an import skips."""

    report: Callable[[str], object]
    """Called with a message for each line, or each conversation, that is skipped."""
    refused: int = 0
    """Number of calls of `report`."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How often a part of a line was skipped, by a phrase that names it."""

    def refuse(self, message: str) -> None:
        self.refused += 1
        self.report(message)


Reader: TypeAlias = "Callable[[Json, SuiteImport], Iterator[SuiteEntry]]"
"""Yields the prompts in an item; none if the item has another form."""


def _conversations(item: Json, importing: SuiteImport) -> Iterator[SuiteEntry]:
    for chat in other_programs.chats_in(item):
        yield from _turns_of(chat, importing)


def _turns_of(chat: other_programs.Chat, importing: SuiteImport) -> Iterator[SuiteEntry]:
    """Yield the turns of the branch that was last shown."""
    by_id = {message.id: message for message in chat.messages}
    at = chat.current if chat.current in by_id else next(reversed(by_id), None)
    branch: list[Message] = []
    while at is not None and (found := by_id.pop(at, None)) is not None:
        branch.append(Message(role=found.role, text=found.text, images=found.images))
        at = found.parent
    return turns(branch[::-1], chat.id, importing)


def turns(messages: Sequence[Message], conversation: str, importing: SuiteImport) -> Iterator[SuiteEntry]:
    """Yield an entry for each turn of the user, with the recorded messages before it and the recorded answer. The turns
    after an image or a call of a tool are skipped, because a suite has neither."""
    for position, (message, following) in enumerate(zip_longest(messages, messages[1:])):
        is_call = message.role == "assistant" and not message.text
        is_call = is_call or (following is not None and message.role == following.role == "assistant")
        if message.images or is_call:
            left = sum(it.role == "user" for it in messages[position:])
            importing.skipped[
                "turns from an image on" if message.images else "turns after a call of a tool"
            ] += left
            return
        if message.role != "user" or (following is not None and following.role == "user"):
            continue
        if following is None or following.text:
            past = messages[: position + 1]
            yield entry_of(
                past, answer=following.text if following is not None else None, conversation=conversation
            )


_READERS: tuple[Reader, ...] = (_conversations,)
"""The known forms. The first reader that finds a prompt in an item reads this item."""


def entries_in(path: Path, importing: SuiteImport) -> Iterator[SuiteEntry]:
    """Yield the prompts in a file. Raises InputError if the file cannot be read."""
    for line, read in _items(path):
        try:
            item = read()
        except InputError as error:
            importing.refuse(f"{path.name}:{line}: {error}")
            continue
        before = importing.skipped.total()
        found = (entries for reader in _READERS if (entries := [*reader(item, importing)]))
        entries = next(found, [])
        yield from entries
        if not entries and importing.skipped.total() == before:
            importing.refuse(f"{path.name}:{line}: This is not {FORMATS}.")


def _items(path: Path) -> Iterator[_Item]:
    """Yield the items of a file: its lines, or the parts of its one document."""
    with files.reading(path, hint="Name a file of conversations.") as file:
        for line, content in _lines(path, file):
            yield line, partial(_parsed, content)


def _parsed(content: bytes) -> Json:
    try:
        return parse_json(content.decode())
    except UnicodeDecodeError as error:
        raise InputError("The line is not UTF-8 text.") from error


def _lines(path: Path, file: BufferedReader) -> Iterator[tuple[int, bytes]]:
    for number in count(1):
        line = file.readline(files.LARGEST + 1)
        if len(line) > files.LARGEST:
            raise InputError(f"Line {number} of {path} is larger than 256 MiB.")
        if not line:
            return
        if line.strip():
            yield number, line


def history_entries(
    store: Store, numbers: Iterable[int], lane: str | None, find: BackendLookup, importing: SuiteImport
) -> Iterator[SuiteEntry]:
    """Yield the turns of conversations of the history along the lane of this name, by default the first open one. Raises
    StoreError."""
    for number in numbers:
        saved = store.load(number)
        names = names_of(saved.lanes, find)
        heads = {names[it.id]: it.head for it in saved.lanes if not it.closed and it.head is not None}
        name = next(iter(heads), "") if lane is None else lane
        if (head := heads.get(name)) is None or head.prompt is None:
            what = "no open lane with a prompt" if lane is None else f"no open lane {lane!r}"
            importing.refuse(f"Conversation c{number} has {what}. {suggest(name, heads)}".rstrip())
            continue
        if lane is None and len(heads) > 1:
            importing.skipped["lanes beside the first one, which --lane NAME chooses"] += len(heads) - 1
        messages = list(messages_for(head.prompt, head.continues))
        if head.text:
            messages.append(Message(role="assistant", text=head.text))
        tags = list(store.summaries([number])[number].tags)
        for entry in turns(messages, f"c{number}", importing):
            entry.tags = tags or None
            yield entry


class Written(NamedTuple):
    """What was written into a suite file."""

    prompts: int
    answers: int
    """Number of prompts with a recorded answer."""
    conversations: int

    def __str__(self) -> str:
        of = f" of {counted(self.conversations, 'conversation')}" if self.conversations else ""
        return f"{counted(self.prompts, 'prompt')}{of}, {self.answers:,} with a recorded answer"


def write_suite(entries: Iterable[SuiteEntry], path: Path, *, replaces: bool) -> Written:
    """Write entries as lines of JSON. Raises InputError if there are none, or the file may not be replaced, and
    ParagoneError."""
    if path.suffix.lower() != ".jsonl":
        raise InputError(f"The name of the suite {path} must end in .jsonl.")
    check_target(path, replaces=replaces)
    prompts = answers = conversations = 0
    last: str | None = None
    with replacing(path) as file:
        for entry in entries:
            file.write(msgspec.json.encode(entry).decode() + "\n")
            prompts += 1
            answers += entry.answer is not None
            conversations += entry.conversation not in (None, last)
            last = entry.conversation
        if not prompts:
            raise InputError("There is no prompt for a suite.", hint=f"A suite can be made of {FORMATS}.")
    return Written(prompts, answers, conversations)
