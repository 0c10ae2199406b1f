"""The vocabulary of a model on llama-server, which reports the bytes of each token."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import EngineError, Json, Vocabulary, fingerprint
from paragone_remote.http.transport import InvalidReply
from paragone_remote.json_fields import Data, as_data, count, items, part, text

__all__ = ["pieces_request", "size_in_models", "vocabulary_of"]


def size_in_models(listed: Data, model: str, where: str) -> int:
    """Return a model's number of tokens from `/v1/models`. Raises EngineError if it is missing."""
    for entry in items(listed, "data"):
        if text(entry, "id") == model and (size := count(part(entry, "meta"), "n_vocab")):
            return size
    raise EngineError(f"The server at {where} does not report the size of its vocabulary.")


def pieces_request(size: int) -> dict[str, Json]:
    """Return the request to `/tokenize` for the bytes of all tokens.

    It accepts ids and returns their pieces.
    """
    return {"content": list(range(size)), "with_pieces": True}


def vocabulary_of(reply: Data, size: int) -> Vocabulary:
    """Return the vocabulary in a reply."""
    found = reply.get("tokens")
    if not isinstance(found, list) or len(found) != size:
        raise InvalidReply("a reply that is not its whole vocabulary")
    return Vocabulary(size=size, fingerprint=fingerprint(_pieces(found)))


def _pieces(found: list[object]) -> Iterator[bytes]:
    for token, entry in enumerate(found):
        piece = as_data(entry).get("piece")
        if count(as_data(entry), "id") != token:
            raise InvalidReply("tokens in a different order than requested")
        if isinstance(piece, str):
            yield piece.encode("utf-8", "surrogatepass")
        elif isinstance(piece, list):  # the bytes of a token that is not valid UTF-8
            yield _bytes(piece)
        else:
            raise InvalidReply("a token without its bytes")


def _bytes(found: list[object]) -> bytes:
    numbers = [number for number in found if isinstance(number, int) and 0 <= number < 256]
    if len(numbers) != len(found):
        raise InvalidReply("a token with invalid bytes")
    return bytes(numbers)
