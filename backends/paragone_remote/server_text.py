"""Sanitize text from a server for use in messages."""

from __future__ import annotations

from paragone.wording import shortened

_LONGEST = 300
"""Largest number of characters of a server's text to quote."""


def plain(text: str) -> str:
    """Return `text` as one line without control characters, truncated to `_LONGEST` characters.

    Unprintable characters (control and format characters, lone surrogates) become `�`.
    """
    line = " ".join(text[: _LONGEST * 4].split())
    clean = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)
    return shortened(clean, _LONGEST)


def lines(text: str) -> str:
    """Return `text` with its line breaks and tabs. Other unprintable characters become `�`."""
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else "\N{REPLACEMENT CHARACTER}" for sign in text
    )


def sentence_of(text: str) -> str:
    """Return a server's text as one line that ends with a full stop."""
    words = plain(text)
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."


def without_surrogates(text: str) -> str:
    """Return a text with lone surrogates replaced. JSON allows lone surrogates, but UTF-8 files do not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
