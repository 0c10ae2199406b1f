"""Read the bytes of each token of a vocabulary from tokenizer.json.

The libraries decode tokens to text, which loses the bytes of a token that is only a part of a character.
Hugging Face's `tokenizers` defines the format of tokenizer.json. The bytes equal those that llama.cpp's
`llama_token_to_piece` returns for a GGUF file converted from the same files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from paragone.json_fields import (
    JsonObject,
    count_at,
    flag_at,
    list_at,
    object_at,
    objects_at,
    text_at,
    texts_at,
)

_SPACE = "▁"
"""SentencePiece's character for a space."""

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_NAME = re.compile(r"<\|.*\|>|<｜.*｜>|<unused.*>", re.DOTALL)
"""Added tokens that llama.cpp's converter treats as control tokens even if they are not marked as special."""


class TokenBytes(NamedTuple):
    """The tokens of a vocabulary, by their ids."""

    pieces: Mapping[int, bytes]
    """The bytes of each token, or the name of a control token."""
    control: frozenset[int]
    """The ids of the control tokens, which have no text."""


def token_bytes(tokenizer: JsonObject) -> TokenBytes | None:
    """Return the bytes of each token.

    `tokenizer` is the object in tokenizer.json. Returns None if the vocabulary is neither byte-level
    BPE nor SentencePiece.
    """
    kinds = set(_kinds(tokenizer))
    decode: Callable[[str], bytes]
    if "ByteLevel" in kinds:
        decode = _byte_level
    elif kinds & {"Metaspace", "ByteFallback"}:
        decode = _sentencepiece
    else:
        return None
    found = {number: decode(piece) for piece, number in _pieces(tokenizer)}
    control: set[int] = set()
    for token in objects_at(tokenizer, "added_tokens"):
        name, number = text_at(token, "content"), count_at(token, "id")
        if not name or number is None:
            continue
        if flag_at(token, "special") or _NAME.fullmatch(name):
            control.add(number)
            found[number] = _utf8(name)
        else:
            found[number] = _utf8(name.replace(_SPACE, " "))
    return TokenBytes(found, frozenset(control))


def _kinds(tokenizer: JsonObject) -> Iterator[str]:
    """Yield the types of the tokenizer's decoders and pre-tokenizers."""
    for role, parts in (("decoder", "decoders"), ("pre_tokenizer", "pretokenizers")):
        for step in (object_at(tokenizer, role), *objects_at(tokenizer, role, parts)):
            yield text_at(step, "type")


def _pieces(tokenizer: JsonObject) -> Iterator[tuple[str, int]]:
    """Yield each token and its id. A BPE model maps tokens to ids; a Unigram model lists the tokens in order."""
    for piece, given in object_at(tokenizer, "model", "vocab").items():
        if (number := count_at(given)) is not None:
            yield piece, number
    for number, entry in enumerate(list_at(tokenizer, "model", "vocab")):
        for piece in texts_at(entry)[:1]:
            yield piece, number


def _byte_characters() -> dict[str, int]:
    """Return the byte for each character of byte-level BPE (the inverse of GPT-2's `bytes_to_unicode`)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + at): byte for at, byte in enumerate(hidden)}


_BYTES = _byte_characters()


def _byte_level(piece: str) -> bytes:
    try:
        return bytes([_BYTES[character] for character in piece])
    except KeyError:
        return _utf8(piece)  # like `tokenizers`, for a piece with a character that stands for no byte


def _sentencepiece(piece: str) -> bytes:
    if found := _BYTE.fullmatch(piece):
        return bytes([int(found[1], 16)])
    return _utf8(piece.replace(_SPACE, " "))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
