"""Read the bytes of each token of a vocabulary from tokenizer.json.

The libraries decode tokens to text, which loses the bytes of tokens with a part of a character. The
format is that of Hugging Face's `tokenizers`. The result equals that of llama.cpp's
`llama_token_to_piece` for a GGUF file converted from the same files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

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


def token_bytes(tokenizer: Mapping[str, Any]) -> TokenBytes | None:
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
    found = {number: decode(piece) for piece, number in _pieces(tokenizer.get("model"))}
    control: set[int] = set()
    added = tokenizer.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and isinstance(name := token.get("content"), str):
            number = token.get("id")
            if isinstance(number, int) and not isinstance(number, bool):
                if token.get("special") is True or _NAME.fullmatch(name):
                    control.add(number)
                    found[number] = _utf8(name)
                else:
                    found[number] = _utf8(name.replace(_SPACE, " "))
    return TokenBytes(found, frozenset(control))


def _kinds(tokenizer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the types of the tokenizer's normalizers, pre-tokenizers and decoders."""
    for role, parts in (("decoder", "decoders"), ("pre_tokenizer", "pretokenizers")):
        step = tokenizer.get(role)
        if isinstance(step, dict):
            several = step.get(parts)
            for one in (step, *(several if isinstance(several, list) else ())):
                if isinstance(one, dict) and isinstance(kind := one.get("type"), str):
                    yield kind


def _pieces(model: object) -> Iterator[tuple[str, int]]:
    """Yield the tokens of a BPE model, which maps them to ids, or of a Unigram model, which lists them."""
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocab, dict):
        for piece, number in vocab.items():
            if isinstance(number, int) and not isinstance(number, bool):
                yield piece, number
    elif isinstance(vocab, list):
        for number, entry in enumerate(vocab):
            if isinstance(entry, list) and entry and isinstance(entry[0], str):
                yield entry[0], number


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
        return _utf8(piece)  # as `tokenizers` decodes other characters


def _sentencepiece(piece: str) -> bytes:
    if found := _BYTE.fullmatch(piece):
        return bytes([int(found[1], 16)])
    return _utf8(piece.replace(_SPACE, " "))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
