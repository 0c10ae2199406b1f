"""What a server says, made fit to stand in a sentence of ours."""

from __future__ import annotations

__all__ = ["lines", "plain", "sentence_of", "whole"]

_LONGEST = 300
"""Characters of a server's own words that a sentence of ours quotes."""


def plain(text: str, longest: int = _LONGEST) -> str:
    """Return `text` as one line that no terminal obeys, cut where it is long.

    What does not print (control and format characters, lone surrogates) becomes `�`.
    """
    line = " ".join(text[: longest * 4].split())
    clean = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def lines(text: str) -> str:
    """Return `text` as it is, with its lines and tabs, but nothing that a terminal obeys: `�` stands for that."""
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else "\N{REPLACEMENT CHARACTER}" for sign in text
    )


def sentence_of(text: str) -> str:
    """Return a server's own words with a full stop at their end."""
    words = plain(text)
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."


def whole(text: str) -> str:
    """Return an answer's text as it is, but for lone surrogates, which no file takes and JSON lets through."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
