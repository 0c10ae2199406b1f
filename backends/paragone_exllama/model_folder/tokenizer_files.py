"""Read a model's chat template, special tokens and end tokens from its JSON files.

The layout is Hugging Face's: config.json, generation_config.json, tokenizer.json,
tokenizer_config.json, and optionally chat_template.jinja or chat_template.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError, Json
from paragone.json_fields import (
    JsonObject,
    count_at,
    flag_at,
    list_at,
    object_at,
    objects_at,
    text_at,
    value_at,
)
from paragone.regular_file import option_text, read_regular_file
from paragone_exllama.model_folder.folders import ModelFolder, read_json
from paragone_exllama.model_folder.token_bytes import TokenBytes, token_bytes

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
        for token in objects_at(tokenizer, "added_tokens")
        if (content := text_at(token, "content")) and (number := count_at(token, "id")) is not None
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
            | _ids(value_at(folder.config, "text_config", "eos_token_id"))
            | _ids(read_json(path / "generation_config.json").get("eos_token_id"))
        ),
        end_texts=tuple(dict.fromkeys([*([eos] if eos else []), *ends])),
    )


def _template(path: Path, settings: JsonObject) -> str | None:
    try:
        return read_regular_file(path / "chat_template.jinja", hint="").decode()
    except (InputError, UnicodeDecodeError):
        pass
    for found in (settings.get("chat_template"), read_json(path / "chat_template.json").get("chat_template")):
        if isinstance(found, str):
            return found
        named = {entry.get("name"): entry.get("template") for entry in objects_at(found)}
        if isinstance(default := named.get("default"), str):
            return default
    return None


def _adds_bos(settings: JsonObject, tokenizer: JsonObject, bos: str) -> bool:
    if (stated := flag_at(settings, "add_bos_token")) is not None:
        return stated and bool(bos)
    # Newer tokenizers declare the BOS token in their post-processor.
    after = object_at(tokenizer, "post_processor")
    for processor in (after, *objects_at(after, "processors")):
        for piece in objects_at(processor, "single")[:1]:
            return bool(bos) and text_at(piece, "SpecialToken", "id") == bos
    return False


def _text(token: Json) -> str:
    """Return the text of a special token, which is a string or an object with the string as `content`."""
    return text_at(token) or text_at(token, "content")


def _ids(value: Json) -> set[int]:
    """Return the ids in a value that is one id or a list of them."""
    return {number for entry in list_at(value) or [value] if (number := count_at(entry)) is not None}
