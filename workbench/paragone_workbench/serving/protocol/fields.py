"""Reads the fields of requests. A wrong value raises ApiError with the name of its field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from paragone import Json
from paragone.wire import parse_json
from paragone_workbench.serving.protocol.api_error import ApiError

_MOST_BRACKETS = 200_000
"""Largest number of opening brackets and braces in a body: Python runs no other thread while it parses a body."""


class Fields:
    """The fields of an object in a request. A field that is null is missing, as in the OpenAI API."""

    def __init__(self, values: Mapping[str, Json], path: str = "") -> None:
        self._values = values
        self._path = path

    @classmethod
    def of_body(cls, body: bytes) -> Fields:
        """Return the fields of a request's body."""
        if body.count(b"[") + body.count(b"{") > _MOST_BRACKETS:
            raise ApiError(400, f"The body has more than {_MOST_BRACKETS:,} opening brackets and braces.")
        try:
            values = parse_json(body)
        except ValueError as error:
            raise ApiError(400, f"The body is not valid JSON: {error}.") from error
        if not isinstance(values, Mapping):
            raise ApiError(400, "The body must be a JSON object.")
        return cls(values)

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        return self._values.get(name) is not None

    def value(self, name: str) -> Json:
        """Return the value of a field; None if it is missing."""
        return self._values.get(name)

    def path(self, name: str) -> str:
        """Return the name of a field with the names of the objects around the field, such as `messages[0].role`."""
        return f"{self._path}.{name}" if self._path else name

    def wrong(self, name: str, expected: str) -> ApiError:
        """Return the error for a field with an invalid value. `expected` says which values are valid."""
        return ApiError(400, f"{self.path(name)} must be {expected}.", param=self.path(name))

    def text(self, name: str) -> str | None:
        """Return a text; None if it is missing."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def required(self, name: str) -> str:
        """Return a text. Raises ApiError if the field is missing."""
        value = self.text(name)
        if value is None:
            raise self.wrong(name, "given, as a text")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false; False if the field is missing."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return bool(value)

    def whole(self, name: str, least: int, most: int) -> int | None:
        """Return a whole number from `least` to `most`; None if it is missing."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(name, f"a whole number from {least:,} to {most:,}")
        return value

    def number(self, name: str) -> float | None:
        """Return a number; None if it is missing."""
        value = self._values.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self.wrong(name, "a number")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return a list of texts, or one text as a list; None if it is missing."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            return (value,)
        if isinstance(value, Sequence):
            texts = tuple(text for text in value if isinstance(text, str))
            if len(texts) == len(value):
                return texts
        raise self.wrong(name, "a text or a list of texts")

    def object(self, name: str) -> Fields | None:
        """Return an object; None if it is missing."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(name, "an object")
        return Fields(value, self.path(name))

    def objects(self, name: str) -> Iterator[Fields]:
        """Yield the objects of a list."""
        value = self._values.get(name)
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise self.wrong(name, "a list of objects")
        for index, item in enumerate(value):
            if not isinstance(item, Mapping):
                raise self.wrong(f"{name}[{index}]", "an object")
            yield Fields(item, self.path(f"{name}[{index}]"))
