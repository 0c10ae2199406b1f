"""Turns the records of suite files into prompts. A record is the entry of one prompt, whatever the file's format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from paragone import InputError, Json, Message, ParagoneError, Role, wire
from paragone_workbench.conversation.variables import fill
from paragone_workbench.engines.definitions import suggest
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.experiments.suites.suite import AssertionSpec, SuiteProblem, SuitePrompt

T = TypeVar("T")

KEYS = ("prompt", "messages", "system", "expected", "tags", "variables", "assertions")
"""The keys of a record."""

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The entry of one prompt in a file, unchecked."""

    line: int
    values: Mapping[str, Json]


def record_of(line: int, read: Callable[[], Json], *, mistake: str) -> Record | SuiteProblem:
    """Return the record that `read` returns for a line, or a problem; `mistake` is the message if the value is no object."""
    try:
        values = read()
    except InputError as error:
        return SuiteProblem(line=line, sentence=str(error))
    if isinstance(values, Mapping):
        return Record(line=line, values=values)
    return SuiteProblem(line=line, sentence=mistake)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDefaults:
    """The system prompt and the assertions that apply to all prompts of a file."""

    system: str | None = None
    """The file's system prompt, for prompts without a system prompt; None if the file has no system prompt."""
    given_system: str = ""
    """The user's own system prompt, for a file without a system prompt."""
    assertions: tuple[AssertionSpec, ...] = ()
    """Assertions that apply to all prompts, in addition to the assertions of each prompt."""


@dataclass(eq=False)
class RecordReader:
    """Turns a record into a prompt, and collects the problems of the record."""

    record: Record
    defaults: FileDefaults
    catalog: AssertionCatalog
    problems: list[SuiteProblem] = field(default_factory=list)
    takes_given_system: bool = False
    """Whether the prompt uses `FileDefaults.given_system`, because the file has no system prompt."""

    def prompt(self, index: int) -> SuitePrompt | None:
        """Return the prompt; None if there are problems."""
        for key in self.record.values:
            if key not in KEYS:
                self._wrong(f"There is no key {key!r}. {suggest(key, KEYS)}")
        variables = self._value("variables", dict, "an object with a value for each name") or {}
        messages = self._messages()
        expected = self._expected()
        tags = self._tags()
        if variables and not self.problems:
            try:
                messages = tuple(
                    Message(role=message.role, text=fill(message.text, variables)) for message in messages
                )
                expected = None if expected is None else fill(expected, variables)
            except InputError as error:
                self._wrong(str(error))
        assertions = self._assertions(expected)
        if self.problems:
            return None
        return SuitePrompt(
            index=index,
            line=self.record.line,
            messages=messages,
            expected=expected,
            tags=tags,
            variables=variables,
            assertions=assertions,
        )

    def _wrong(self, sentence: str) -> None:
        self.problems.append(SuiteProblem(line=self.record.line, sentence=sentence))

    def _value(self, key: str, kind: type[T], wanted: str) -> T | None:
        """Return the value of a key, or None. If its type is not `kind`, add the problem that the value must be `wanted`."""
        value = self.record.values.get(key)
        if value is None or isinstance(value, kind):
            return value
        self._wrong(f"{key!r} must be {wanted}.")
        return None

    def _text(self, key: str) -> str | None:
        return self._value(key, str, "text")

    def _messages(self) -> tuple[Message, ...]:
        """Return the messages, including the system message, before variables are filled in."""
        system = self._text("system")
        messages: list[Message] = []
        given = self.record.values.get("messages")
        if given is None:
            prompt = self._text("prompt")
            if prompt is not None and prompt.strip():
                messages = [Message(role="user", text=prompt)]
            elif prompt is not None or self.record.values.get("prompt") is None:
                self._wrong("There is no prompt: write a 'prompt' or 'messages'.")
        elif self.record.values.get("prompt") is not None:
            self._wrong("There are both 'prompt' and 'messages': leave one out.")
        elif isinstance(given, list):
            messages = [message for item in given if (message := self._message(item)) is not None]
            if len(messages) == len(given) and not any(message.role == "user" for message in messages):
                self._wrong("'messages' needs a message with the role 'user'.")
        else:
            self._wrong("'messages' must be a list.")
        if any(message.role == "system" for message in messages):
            if system is not None:
                self._wrong("There are both 'system' and a message with the role 'system': leave one out.")
            return tuple(messages)
        if system is None:
            system = self.defaults.system
        if system is None:
            system = self.defaults.given_system
            self.takes_given_system = bool(system)
        return (*((Message(role="system", text=system),) if system else ()), *messages)

    def _message(self, item: Json) -> Message | None:
        if not isinstance(item, Mapping):
            self._wrong('An item of \'messages\' must look like {"role": "user", "content": "…"}.')
            return None
        for key in item:
            if key not in ("role", "content"):
                self._wrong(f"A message has no key {key!r}. {suggest(key, ('role', 'content'))}")
        role, content = item.get("role"), item.get("content")
        if role not in ROLES:
            self._wrong(f"The 'role' of a message must be one of: {', '.join(ROLES)}.")
        elif not isinstance(content, str):
            self._wrong("The 'content' of a message must be text.")
        else:
            return Message(role=cast("Role", role), text=content)
        return None

    def _expected(self) -> str | None:
        value = self.record.values.get("expected")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return json.dumps(value)
        return self._text("expected")

    def _tags(self) -> tuple[str, ...]:
        tags = self._value("tags", list, "a list of texts") or []
        if all(isinstance(tag, str) for tag in tags):
            return tuple(tags)
        self._wrong("'tags' must be a list of texts.")
        return ()

    def _assertions(self, expected: str | None) -> tuple[AssertionSpec, ...]:
        """Return the checked assertions of the record and the file; `equals` if only an expected answer is given."""
        own: list[AssertionSpec] = []
        for item in self._value("assertions", list, "a list") or ():
            try:
                own.append(assertion_spec(item))
            except InputError as error:
                self._wrong(str(error))
        specs = (*own, *self.defaults.assertions)
        if not specs and not self.record.values.get("assertions") and expected is not None:
            specs = (AssertionSpec(type="equals"),)
        for spec in specs:
            try:
                self.catalog.check_spec(spec, expected=expected)
            except ParagoneError as error:
                self._wrong(str(error))
        return specs


def assertion_spec(item: Json) -> AssertionSpec:
    """Return the assertion that an item of `assertions` describes, with unchecked options. Raises InputError."""
    if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
        raise InputError('An assertion must look like {"type": "contains", "value": "…"}.')
    negated = item.get("not", False)
    if not isinstance(negated, bool):
        raise InputError("The 'not' of an assertion must be true or false.")
    options = {key: value for key, value in item.items() if key not in ("type", "not")}
    return AssertionSpec(type=cast("str", item["type"]), options=options, negated=negated)


def parse_json(text: str) -> Json:
    """Parse JSON. Raises InputError with a sentence about the mistake."""
    try:
        value = wire.parse_json(text)
        if "\\u" in text:  # an escape may be half of a pair that makes one character
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError("The text has half of a surrogate pair, which is not a character.") from error
    except ValueError as error:
        raise InputError(f"The text is not valid JSON: {error}.") from error
    return value
