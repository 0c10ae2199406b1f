"""Tokens of a text, and the vocabulary that they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["TokenizedText", "Vocabulary", "fingerprint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """A prompt or a text as the model reads it. Its length in tokens is `len(ids)`."""

    text: str | None
    """The text after the chat template; None where a server tells the ids alone."""
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The vocabulary of a model. Engines whose fingerprints are equal give every token the same id."""

    size: int
    """Number of tokens: the width of a distribution."""
    fingerprint: str
    """What `fingerprint` returns for its tokens."""


def fingerprint(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256, in hexadecimal, of a vocabulary: of each token's bytes in the order of the ids.

    `pieces` are the bytes that each token stands for; of a control token, its name. Each is preceded
    by its length in four bytes, little-endian.
    """
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(4, "little") + piece)
    return digest.hexdigest()
