"""Recognize keys and passwords, and remove them from texts that may be shown and saved.

No rule tells a key from other text for certain. In a URL, user names, passwords, queries and fragments are always treated
as secret. A part of a URL's path is treated as secret if the part looks like a key.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = ["HIDDEN", "is_key", "without_key_words", "without_keys"]

HIDDEN = "•••"
"""The replacement of a key."""

_PREFIXES = ("sk-", "pk-", "rk-", "hf_", "gsk_", "xai-", "ghp_")
"""The prefixes of keys of known services."""

_RANDOM = re.compile(r"(?=[A-Za-z0-9]*[0-9])(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{16,}|[0-9]{20,}")
"""Random characters: 16 or more letters and digits with at least one of each, or 20 or more digits."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_NEXT = r",[A-Za-z][\w+.-]*://"
"""The start of the next URL, in a text that names several servers."""

_URL = re.compile(
    rf"(?<=[\w+.-])://(?:[^/?#\s]*@)?(?P<host>(?:(?!{_NEXT})[^/?#\s'\"<>])*)(?P<path>(?:(?!{_NEXT})[^?#\s'\"<>])*)"
    rf"(?P<rest>[?#][^\s'\"<>]*?)?(?P<end>[.,;:!)]{{0,8}}(?=[\s'\"<>]|{_NEXT}|$))"
)
"""A URL in a text, from its `://` on. The group `end` is the punctuation after the URL.

The match begins at `://`, and `end` has at most 8 characters, so that the time is proportional to the length of the text.
"""

_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+(?=\S*\d)[\w.+/~=-]{8,}")

_WORD = re.compile(r"(?<![\w.+~/-])[\w.+~-]++={0,2}(?!/)")
"""A word of a text, with punctuation at its end. Parts of a path do not match: folders are often named after a digest.

The pattern does not backtrack, so that the time is proportional to the length of the text.
"""

_PUNCTUATION = ".+~-"
"""Characters that may be the end of a key, or punctuation after the key."""


def is_key(text: str) -> bool:
    """Return whether a text without spaces, such as a part of a path or the value of a header, looks like a key."""
    text = unquote(text).strip()
    if HIDDEN in text or (text.lower().startswith(_PREFIXES) and len(text) >= 8) or _UUID.fullmatch(text):
        return True
    return any(_RANDOM.fullmatch(part) for part in re.split(r"[^A-Za-z0-9]+", text))


def without_keys(text: str) -> str:
    """Return a text without user names, passwords, queries, fragments and keys in its URLs."""
    return _URL.sub(_public, text)


def without_key_words(text: str) -> str:
    """Return a text of unknown origin without the keys in its URLs and among its words."""
    text = _BEARER.sub(rf"\1 {HIDDEN}", without_keys(text))
    return _WORD.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    word = found[0].rstrip(_PUNCTUATION)
    return HIDDEN + found[0][len(word) :] if is_key(word) else found[0]


def _public(found: re.Match[str]) -> str:
    path = "/".join(HIDDEN if is_key(part) else part for part in found["path"].split("/"))
    return f"://{found['host']}{path}{found['end']}"
