"""Tokenized text and vocabularies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["TokenizedText", "Vocabulary", "fingerprint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """A prompt or a text as tokens.

    Attributes:
        text: The text after the chat template; None if a server returns only the ids.
        ids: The token ids; may be empty if `count` is set.
        count: Number of tokens, in answer to `TokenizeRequest.count_only`; None if `ids` has all tokens.
    """

    text: str | None
    ids: tuple[int, ...]
    count: int | None = None

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.ids) if self.count is None else self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The vocabulary of a model. Two engines with equal fingerprints use the same id for every token.

    Attributes:
        size: Number of tokens, which is also the length of a distribution.
        fingerprint: The result of `paragone.fingerprint` for the vocabulary's tokens.
    """

    size: int
    fingerprint: str


def fingerprint(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256 of a vocabulary, in hexadecimal.

    `pieces` are the bytes of each token, in the order of the ids; for a control token, its name. The
    hash covers all pieces, each preceded by its length as four bytes, little-endian.
    """
    import hashlib  # imported here because hashlib loads OpenSSL, which would slow down the start

    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(4, "little") + piece)
    return digest.hexdigest()
