"""Keys and passwords in texts that may be shown and saved: what looks like one, and URLs without them.

Nobody can tell a key from other text for certain. In a URL, user names, passwords, queries and fragments always count as
secret; parts of its path do if they look like keys.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = ["HIDDEN", "is_key", "without_key_words", "without_keys"]

HIDDEN = "•••"
"""What stands in place of a key."""

_PREFIXES = ("sk-", "pk-", "rk-", "hf_", "gsk_", "xai-", "ghp_")
"""How keys of known services begin."""

_RANDOM = re.compile(r"(?=[A-Za-z0-9]*[0-9])(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{16,}|[0-9]{20,}")
"""A run of letters and digits that is not a word: 16 or more, of both kinds, or 20 digits."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_NEXT = r",[A-Za-z][\w+.-]*://"
"""How the next URL begins, in a text that names several servers."""

_URL = re.compile(
    rf"(?<=[\w+.-])://(?:[^/?#\s]*@)?(?P<host>(?:(?!{_NEXT})[^/?#\s'\"<>])*)(?P<path>(?:(?!{_NEXT})[^?#\s'\"<>])*)"
    rf"(?P<rest>[?#][^\s'\"<>]*?)?(?P<end>[.,;:!)]{{0,8}}(?=[\s'\"<>]|{_NEXT}|$))"
)
"""A URL in a text from its `://` on, up to the punctuation that follows it, or to the next URL.

It begins there and has bounded punctuation so that the time is proportional to the length of the text.
"""

_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+(?=\S*\d)[\w.+/~=-]{8,}")

_WORD = re.compile(r"(?<![\w.+~/-])[\w.+~-]++={0,2}(?!/)")
"""A word of a text, also with punctuation at its end. The parts of a path are none: a folder is often named after a digest.

What ends it is never tried again, so that the time is proportional to the length of the text.
"""

_PUNCTUATION = ".+~-"
"""What may be the end of a word, and of a sentence."""


def is_key(text: str) -> bool:
    """Whether a text without spaces, such as a part of a path or the value of a header, looks like a key."""
    text = unquote(text).strip()
    if HIDDEN in text or (text.lower().startswith(_PREFIXES) and len(text) >= 8) or _UUID.fullmatch(text):
        return True
    return any(_RANDOM.fullmatch(part) for part in re.split(r"[^A-Za-z0-9]+", text))


def without_keys(text: str) -> str:
    """Return a text whose URLs have no user name, password, query and fragment, and no part of a path that is a key."""
    return _URL.sub(_public, text)


def without_key_words(text: str) -> str:
    """Return a text without keys in its URLs and among its words, for texts that may come from anybody."""
    text = _BEARER.sub(rf"\1 {HIDDEN}", without_keys(text))
    return _WORD.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    word = found[0].rstrip(_PUNCTUATION)
    return HIDDEN + found[0][len(word) :] if is_key(word) else found[0]


def _public(found: re.Match[str]) -> str:
    path = "/".join(HIDDEN if is_key(part) else part for part in found["path"].split("/"))
    return f"://{found['host']}{path}{found['end']}"
