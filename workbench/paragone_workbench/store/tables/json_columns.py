"""Reads JSON and texts from columns, and checks the types, since a record may be damaged."""

from __future__ import annotations

import json

from paragone import Json


def object_in(text: str) -> dict[str, Json]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def text_in(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def list_in(text: str) -> list[Json]:
    value = json.loads(text)
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
