"""Read a model's tokens, chat template, special tokens and end tokens from its JSON files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from paragone import InputError, Json, json_values
from paragone.files import option_text, read_regular_file
from paragone_exllama.model_folder import ModelFolder, read_json

_SPACE = "▁"
"""SentencePiece's character for a space."""

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_NAME = re.compile(r"<\|.*\|>|<｜.*｜>|<unused.*>", re.DOTALL)
"""Added tokens that llama.cpp's converter treats as control tokens even if they are not marked as special."""


class TokenBytes(NamedTuple):
    pieces: Mapping[int, bytes]
    """The bytes of each token, or the name of a control token."""
    control: frozenset[int]
    """The ids of the control tokens, which have no text."""


def token_bytes(tokenizer: json_values.JsonObject) -> TokenBytes | None:
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
    for token in json_values.objects_at(tokenizer, "added_tokens"):
        name, number = json_values.text_at(token, "content"), json_values.count_at(token, "id")
        if not name or number is None:
            continue
        if json_values.flag_at(token, "special") or _NAME.fullmatch(name):
            control.add(number)
            found[number] = _utf8(name)
        else:
            found[number] = _utf8(name.replace(_SPACE, " "))
    return TokenBytes(found, frozenset(control))


def _kinds(tokenizer: json_values.JsonObject) -> Iterator[str]:
    for role, parts in (("decoder", "decoders"), ("pre_tokenizer", "pretokenizers")):
        for step in (json_values.object_at(tokenizer, role), *json_values.objects_at(tokenizer, role, parts)):
            yield json_values.text_at(step, "type")


def _pieces(tokenizer: json_values.JsonObject) -> Iterator[tuple[str, int]]:
    """Yield each token and its id. A BPE model maps tokens to ids; a Unigram model lists the tokens in order."""
    for piece, given in json_values.object_at(tokenizer, "model", "vocab").items():
        if (number := json_values.count_at(given)) is not None:
            yield piece, number
    for number, entry in enumerate(json_values.list_at(tokenizer, "model", "vocab")):
        for piece in json_values.texts_at(entry)[:1]:
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


_ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end_of_turn|>", "<|endoftext|>",
    "<|end_of_text|>", "<|END_OF_TURN_TOKEN|>", "<|return|>", "<|call|>", "<｜end▁of▁sentence｜>",
)  # fmt: skip
"""Tokens that end an answer in every model that has these tokens.

The list is needed because some quantized models lack generation_config.json.
"""


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """What a model's files state about its special tokens, its chat template and the bytes of its tokens."""

    bos: str
    eos: str
    adds_bos: bool
    """Whether every prompt and plain text begins with the token `bos`."""
    template: str | None
    added: Mapping[str, int]
    """The tokens that tokenizer.json adds to the vocabulary, including special ones."""
    tokens: TokenBytes | None
    """The bytes of each token; None if unknown."""
    end_ids: frozenset[int]
    end_texts: tuple[str, ...]

    def ends(self, id_of: Callable[[str], int | None]) -> frozenset[int]:
        """Return the ids of the tokens that end an answer. `id_of` returns the id of the token with a given text."""
        return self.end_ids | {found for text in self.end_texts if (found := id_of(text)) is not None}


def read_tokenizer_files(folder: ModelFolder, chat_template: str | None) -> TokenizerFiles:
    """Read a model's files. `chat_template` is the load option of this name. Raises InputError."""
    path = folder.path
    settings = read_json(path / "tokenizer_config.json")
    tokenizer = read_json(path / "tokenizer.json")
    known = {
        content: number
        for token in json_values.objects_at(tokenizer, "added_tokens")
        if (content := json_values.text_at(token, "content"))
        and (number := json_values.count_at(token, "id")) is not None
    }
    eos = _text(settings.get("eos_token"))
    ends = [text for text in _ENDS if text in known]
    if "<|end|>" in known and "<|channel|>" not in known:
        ends.append("<|end|>")  # this token ends an answer in Phi, but a channel in gpt-oss
    bos = _text(settings.get("bos_token"))
    if chat_template is None:
        template = _template(path, settings)
    else:
        template = option_text(chat_template, "chat_template") or None
    return TokenizerFiles(
        bos=bos,
        eos=eos,
        adds_bos=_adds_bos(settings, tokenizer, bos),
        template=template,
        added=known,
        tokens=token_bytes(tokenizer),
        end_ids=frozenset(
            _ids(folder.config.get("eos_token_id"))
            | _ids(json_values.value_at(folder.config, "text_config", "eos_token_id"))
            | _ids(read_json(path / "generation_config.json").get("eos_token_id"))
        ),
        end_texts=tuple(dict.fromkeys([*([eos] if eos else []), *ends])),
    )


def _template(path: Path, settings: json_values.JsonObject) -> str | None:
    try:
        return read_regular_file(path / "chat_template.jinja", hint="").decode()
    except (InputError, UnicodeDecodeError):
        pass
    for found in (settings.get("chat_template"), read_json(path / "chat_template.json").get("chat_template")):
        if isinstance(found, str):
            return found
        named = {entry.get("name"): entry.get("template") for entry in json_values.objects_at(found)}
        if isinstance(default := named.get("default"), str):
            return default
    return None


def _adds_bos(settings: json_values.JsonObject, tokenizer: json_values.JsonObject, bos: str) -> bool:
    if (stated := json_values.flag_at(settings, "add_bos_token")) is not None:
        return stated and bool(bos)
    # Newer tokenizers declare the BOS token in their post-processor.
    after = json_values.object_at(tokenizer, "post_processor")
    for processor in (after, *json_values.objects_at(after, "processors")):
        for piece in json_values.objects_at(processor, "single")[:1]:
            return bool(bos) and json_values.text_at(piece, "SpecialToken", "id") == bos
    return False


def _text(token: Json) -> str:
    return json_values.text_at(token) or json_values.text_at(token, "content")


def _ids(value: Json) -> set[int]:
    return {
        number
        for entry in json_values.list_at(value) or [value]
        if (number := json_values.count_at(entry)) is not None
    }
