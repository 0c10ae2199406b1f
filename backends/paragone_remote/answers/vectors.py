"""Embeddings in the replies of servers."""

from __future__ import annotations

from collections.abc import Iterable

from paragone import Embeddings
from paragone.json_fields import number_at
from paragone_remote.http.transport import InvalidReply


def embeddings_of(found: Iterable[object], tokens: int | None, *, texts: int) -> Embeddings:
    """Return the embeddings from their lists of numbers, one list for each of `texts` texts. Raises InvalidReply."""
    vectors = tuple(map(_vector, found))
    if len(vectors) != texts or len({len(vector) for vector in vectors}) != 1:
        raise InvalidReply(
            f"{len(vectors):,} embeddings of {texts:,} texts, or embeddings that differ in length"
        )
    return Embeddings(vectors=vectors, prompt_tokens=tokens)


def _vector(found: object) -> tuple[float, ...]:
    numbers = [number_at(item) for item in found] if isinstance(found, list) else []
    vector = tuple(number for number in numbers if number is not None)
    if not vector or len(vector) != len(numbers):
        raise InvalidReply("an embedding that is not a list of numbers")
    return vector
