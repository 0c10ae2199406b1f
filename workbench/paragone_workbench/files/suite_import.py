"""Suites of what other programs have written: conversations, logs of servers, and questions with expected answers. Every
turn of a conversation becomes a prompt with the recorded past before it, and with the recorded answer beside it."""

from __future__ import annotations

import codecs
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import TypeAlias

import msgspec

from paragone import InputError, Json, Message, files
from paragone.json_values import JsonObject, list_at, object_at, text_at, texts_at, value_at
from paragone_workbench.engines.definitions import BackendLookup, suggest
from paragone_workbench.experiments.document import read_json
from paragone_workbench.experiments.suite_file import SuiteEntry, entry_of, parse_json
from paragone_workbench.files import databases, other_programs, promptfoo
from paragone_workbench.ids import derived_id
from paragone_workbench.lanes.lane import names_of
from paragone_workbench.paths import check_target, replacing
from paragone_workbench.runs.context import messages_for
from paragone_workbench.store import Store

FORMATS = (
    "conversations, requests with responses, samples with `input`, or tests of promptfoo, and with --template FILE of any "
    "rows of data"
)
"""What can be imported, for use in messages."""

_Item: TypeAlias = "tuple[str, Callable[[], Json]]"
"""The place of an item in a file, such as `chat.jsonl:3`, and a function that reads the item, or raises InputError."""


@dataclass(eq=False)
class SuiteImport:
    """How files are read, and what is skipped."""

    report: Callable[[str], object]
    """Called with a message for each line, or each conversation, that is skipped."""
    template: str = ""
    """The prompt for rows of data: a text with variables, or messages in JSON."""
    refused: int = 0
    """Number of calls of `report`."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How often a part of an item was skipped, by a phrase that names it."""

    def refuse(self, message: str) -> None:
        self.refused += 1
        self.report(message)


Reader: TypeAlias = "Callable[[Json, SuiteImport], Iterator[SuiteEntry]]"
"""Yields the prompts in an item; none if the item has another form. Raises InputError."""


# Conversations


def _conversations(item: Json, importing: SuiteImport) -> Iterator[SuiteEntry]:
    for chat in other_programs.chats_in(item):
        yield from turns(shown(chat), chat.id, importing)


def shown(chat: other_programs.Chat) -> list[Message]:
    """Return the branch of a conversation that was last shown."""
    by_id = {message.id: message for message in chat.messages}
    at = chat.current if chat.current in by_id else next(reversed(by_id), None)
    branch: list[Message] = []
    while at is not None and (found := by_id.pop(at, None)) is not None:
        branch.append(Message(role=found.role, text=found.text, images=found.images))
        at = found.parent
    return branch[::-1]


def turns(
    messages: Sequence[Message], conversation: str, importing: SuiteImport, first: int = 0
) -> Iterator[SuiteEntry]:
    """Yield an entry for each turn of the user from the message `first` on, with the recorded messages before it and the
    recorded answer. Skip the turns from an image or a call of a tool on, because a suite has neither, and after two answers
    in a row, which may be around the result of a call."""
    end, why = _end(messages)
    for position, message in enumerate(messages[:end]):
        following = messages[position + 1] if position + 1 < len(messages) else None
        if (
            message.role == "user"
            and position >= first
            and (following is None or following.role == "assistant")
        ):
            answer = None if following is None else following.text
            yield entry_of(messages[: position + 1], answer=answer, conversation=conversation)
    if left := sum(message.role == "user" for message in messages[max(end, first) :]):
        importing.skipped[f"turns {why}"] += left


def _end(messages: Sequence[Message]) -> tuple[int, str]:
    """Return how many messages a suite can have, and why it cannot have more."""
    for position, message in enumerate(messages):
        if message.images or (message.role == "user" and not message.text):
            return position, "from an image on"
        if message.role == "assistant" and not message.text:
            return max(position - 1, 0), "from a call of a tool on"
        if message.role == "assistant" and position and messages[position - 1].role == "assistant":
            return position, "after two answers in a row"
    return len(messages), ""


def _server_calls(item: Json, importing: SuiteImport) -> Iterator[SuiteEntry]:
    """Read the bodies of a request and its response, as LiteLLM (`StandardLoggingPayload`) and proxies log them. Earlier
    turns are in requests of their own, so only the last one counts."""
    own = object_at(item)
    request = _body(item, "request", "request_body", "body") or (own if "response" in own else {})
    answers = [value_at(it, "message") for it in list_at(_body(item, "response", "response_body"), "choices")]
    for chat in other_programs.openai_chats({"messages": [*list_at(request, "messages"), *answers[:1]]}):
        messages = shown(chat)
        begin = [it.text for it in itertools.takewhile(lambda it: it.role != "assistant", messages)]
        last = max((at for at, it in enumerate(messages) if it.role == "user"), default=0)
        yield from turns(messages, derived_id(*begin), importing, first=last)


def _body(item: Json, *names: str) -> JsonObject:
    """Return the first of these values that is an object, or the text of one; the value's `body` if it has one."""
    for name in names:
        found = value_at(item, name)
        if isinstance(found, str) and found.startswith("{"):
            found = parse_json(found)
        if found := object_at(found):
            return object_at(found, "body") or found
    return {}


# Questions


def _samples(item: Json, importing: SuiteImport) -> Iterator[SuiteEntry]:
    """Read a sample of Inspect, or of OpenAI evals, which has `ideal` instead of `target`. Like Inspect's `includes`, the
    answer must contain the target, in any case."""
    if messages := question(item):
        target = value_at(item, "target") or value_at(item, "ideal")
        wanted = [
            str(it) for it in (target if isinstance(target, list) else [target]) if it not in (None, "")
        ]
        check: dict[str, object] = {"type": "contains", "value": wanted, "match": "any", "ignore_case": True}
        letters = _letters(item)
        if letters:
            check = {"type": "regex", "pattern": rf"\A\W*(?:{'|'.join(map(re.escape, wanted))})\b"}
        entry = entry_of(messages)
        if len(wanted) == 1 and wanted[0] in letters:
            entry.choices, entry.expected = letters, wanted[0]
        else:
            entry.assertions = [check] if wanted else None
        entry.tags = promptfoo.tags_of(object_at(item, "metadata")) or None
        yield entry


def question(item: Json) -> list[Message]:
    """Return the messages of a sample, with its choices; empty if it has no messages."""
    given = value_at(item, "input")
    given = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = next((shown(chat) for chat in other_programs.openai_chats({"messages": given})), [])
    if messages and (letters := _letters(item)):
        choices = texts_at(item, "choices")
        lines = (f"{letter}) {choice}" for letter, choice in zip(letters, choices, strict=True))
        text = "\n".join(
            (messages[-1].text, "", *lines, "", f"Answer with one letter: {', '.join(letters)}.")
        )
        messages[-1] = replace(messages[-1], text=text)
    return messages


def _letters(item: Json) -> list[str]:
    """Return a letter for each choice of a sample."""
    return [chr(ord("A") + position) for position in range(len(texts_at(item, "choices")))]


def _rows(item: Json, importing: SuiteImport) -> Iterator[SuiteEntry]:
    """Read a test of promptfoo, or a row of data for the template."""
    if "vars" in (test := object_at(item)):
        yield promptfoo.entry_of_test(test, importing.skipped)
        return
    if not importing.template or not test:
        return
    row = {**promptfoo.test_of_row(test), "prompt": importing.template}
    entry = promptfoo.entry_of_test(row, importing.skipped)
    expected = value_at(item, "expected")
    entry.expected = expected if isinstance(expected, str | int | float) and expected != "" else None
    yield entry


_READERS: tuple[Reader, ...] = (_server_calls, _samples, _conversations, _rows)
"""The known forms. The first reader that finds a prompt in an item reads this item."""


def entries_in(path: Path, importing: SuiteImport) -> Iterator[SuiteEntry]:
    """Yield the prompts in a file. Raises InputError if the file cannot be read."""
    with files.reading(path, hint=f"The file can have {FORMATS}.") as file:
        is_database = file.read(len(databases.SQLITE)) == databases.SQLITE
    if is_database:
        for chat in databases.database_chats(path):
            yield from turns(shown(chat), chat.id, importing)
        return
    readers = (_rows,) if importing.template else _READERS
    for place, item in items_in(path, importing):
        before = importing.skipped.total()
        try:
            for reader in readers:
                entries = [*reader(item, importing)]
                yield from entries
                if entries or importing.skipped.total() > before:
                    break
            else:
                importing.refuse(f"{place}: This has no known form.")
        except InputError as error:
            importing.refuse(f"{place}: {error}")


def items_in(path: Path, importing: SuiteImport) -> Iterator[tuple[str, Json]]:
    """Yield the rows of CSV, lines of JSON, tests of promptfoo, or elements of a list in a file, each with its place such
    as `chat.jsonl:3`. Refuse those that cannot be read. Raises InputError if the file cannot be read."""
    hint, ending = f"The file can have {FORMATS}.", path.suffix.lower()
    with files.reading(path, hint=hint) as file:
        first = file.readline(files.LARGEST).rstrip()
        file.seek(0)
        items: Iterable[_Item]
        if ending in (".yaml", ".yml"):
            items = [(path.name, partial(value_at, promptfoo.read_yaml(path)))]
        elif ending == ".csv":
            items = ((f"{path.name}:{line}", read) for line, read in promptfoo.rows_of(path))
        elif ending == ".json" and not first.endswith((b"}", b"]")):
            items = [(path.name, partial(value_at, read_json(path, hint=hint)))]
        else:
            items = _lines(path, file, importing)
        for place, read in items:
            try:
                yield from _parts(path, place, read(), importing)
            except InputError as error:
                importing.refuse(f"{place}: {error}")


def _parts(path: Path, place: str, item: Json, importing: SuiteImport) -> Iterator[tuple[str, Json]]:
    """Yield the parts of an item: the tests of promptfoo's configuration, or the elements of a list."""
    if promptfoo.is_configuration(item):
        for number, test in enumerate(promptfoo.tests_of(path, item, importing.refuse), start=1):
            yield f"{place}, test {number}", test
    elif isinstance(item, list) and not all(text_at(part, "role") for part in item):
        for number, part in enumerate(item, start=1):
            yield f"{place}, element {number}", part
    else:
        yield place, item


_LOGGED = re.compile(rb"log_server_r\w*: (request|response): +(\{.*\})")
"""The bodies in the log of llama-server with the verbosity of debugging. The response of a stream is empty there."""


def _lines(path: Path, file: BufferedReader, importing: SuiteImport) -> Iterator[_Item]:
    """Yield the lines of JSON. In a log with other lines, a request and its response in two lines are one item."""
    request = b""
    is_log = False
    for number in itertools.count(1):
        line = file.readline(files.LARGEST + 1)
        if not line:
            return
        if len(line) > files.LARGEST:
            raise InputError(f"Line {number} of {path} is larger than 256 MiB.")
        text = line.removeprefix(codecs.BOM_UTF8).strip()
        is_log = is_log or (number == 1 and text[:1] not in (b"{", b"["))
        if match := _LOGGED.search(text):
            if match[1] == b"response" and request:
                call = b'{"request": %b, "response": %b}' % (request, match[2])
                yield f"{path.name}:{number}", partial(_parsed, call)
            request = match[2] if match[1] == b"request" else b""
        elif is_log and text[:1] not in (b"{", b"["):
            importing.skipped["lines that are not JSON"] += 1
        elif text:
            yield f"{path.name}:{number}", partial(_parsed, text)


def _parsed(text: bytes) -> Json:
    try:
        return parse_json(text.decode())
    except UnicodeDecodeError as error:
        raise InputError("The line is not UTF-8 text.") from error


# Suites


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


def write_suite(entries: Iterable[SuiteEntry], path: Path, *, replaces: bool) -> tuple[int, int]:
    """Write entries as lines of JSON into a file that only the user can read. Return the number of prompts, and of
    prompts with a recorded answer. Raises InputError if there are none, or the file may not be replaced, and
    ParagoneError."""
    if path.suffix.lower() != ".jsonl":
        raise InputError(f"The name of the suite {path} must end in .jsonl.")
    check_target(path, replaces=replaces)
    prompts = answers = 0
    with replacing(path, mode=0o600) as file:
        for entry in entries:
            file.write(msgspec.json.encode(entry).decode() + "\n")
            prompts += 1
            answers += entry.answer is not None
        if not prompts:
            raise InputError("There is no prompt for a suite.", hint=f"A suite is made of {FORMATS}.")
    return prompts, answers
