"""The vocabulary of a llama-server's model, of which it tells each token's bytes."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import EngineError, Json, Vocabulary, fingerprint
from paragone_remote.data import Data, as_data, count, items, part, text
from paragone_remote.transport import Garbled

__all__ = ["pieces_request", "size_in_models", "vocabulary_of"]


def size_in_models(listed: Data, model: str, where: str) -> int:
    """Return the number of tokens that `/v1/models` tells of a model. Raises EngineError where it tells none."""
    for entry in items(listed, "data"):
        if text(entry, "id") == model and (size := count(part(entry, "meta"), "n_vocab")):
            return size
    raise EngineError(f"The server at {where} does not tell the size of its vocabulary.")


def pieces_request(size: int) -> dict[str, Json]:
    """Return the request to `/tokenize` for all tokens' bytes: ids are answered as they are, with their pieces."""
    return {"content": list(range(size)), "with_pieces": True}


def vocabulary_of(reply: Data, size: int) -> Vocabulary:
    """Return the vocabulary that a reply tells."""
    found = reply.get("tokens")
    if not isinstance(found, list) or len(found) != size:
        raise Garbled("something that is not its whole vocabulary")
    return Vocabulary(size=size, fingerprint=fingerprint(_pieces(found)))


def _pieces(found: list[object]) -> Iterator[bytes]:
    for token, entry in enumerate(found):
        piece = as_data(entry).get("piece")
        if count(as_data(entry), "id") != token:
            raise Garbled("tokens in another order than was asked for")
        if isinstance(piece, str):
            yield piece.encode("utf-8", "surrogatepass")
        elif isinstance(piece, list):  # the bytes of what is no UTF-8 by itself
            yield _bytes(piece)
        else:
            raise Garbled("a token without its bytes")


def _bytes(found: list[object]) -> bytes:
    numbers = [number for number in found if isinstance(number, int) and 0 <= number < 256]
    if len(numbers) != len(found):
        raise Garbled("a token with bytes that are none")
    return bytes(numbers)
