"""Read a model's chat template, special tokens and end tokens from its JSON files.

The layout is Hugging Face's: config.json, generation_config.json, tokenizer.json,
tokenizer_config.json, and optionally chat_template.jinja or chat_template.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragone import InputError
from paragone.regular_file import option_text, read_regular_file
from paragone_exllama.model_folder.folders import ModelFolder, read_json
from paragone_exllama.model_folder.token_bytes import TokenBytes, token_bytes

_ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end_of_turn|>", "<|endoftext|>",
    "<|end_of_text|>", "<|END_OF_TURN_TOKEN|>", "<|return|>", "<|call|>", "<｜end▁of▁sentence｜>",
)  # fmt: skip
"""Tokens that end an answer in every model that has them.

Quantizers sometimes omit generation_config.json.
"""


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """The texts of special tokens, and the ids of those without a text in the files."""

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
        """Return the ids of the tokens that end an answer. `id_of` looks up the id of a text."""
        return self.end_ids | {found for text in self.end_texts if (found := id_of(text)) is not None}


def read_tokenizer_files(folder: ModelFolder, chat_template: str | None) -> TokenizerFiles:
    """Read a model's files. `chat_template` is the value of the option. Raises InputError."""
    path = folder.path
    settings = read_json(path / "tokenizer_config.json")
    tokenizer = read_json(path / "tokenizer.json")
    known = {
        content: number
        for token in _dicts(tokenizer.get("added_tokens"))
        if isinstance(content := token.get("content"), str) and isinstance(number := token.get("id"), int)
    }
    eos = _text(settings.get("eos_token"))
    ends = [text for text in _ENDS if text in known]
    if "<|end|>" in known and "<|channel|>" not in known:
        ends.append("<|end|>")  # in gpt-oss it ends a channel, in Phi an answer
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
            | _ids(_dict(folder.config.get("text_config")).get("eos_token_id"))
            | _ids(read_json(path / "generation_config.json").get("eos_token_id"))
        ),
        end_texts=tuple(dict.fromkeys([*([eos] if eos else []), *ends])),
    )


def _template(path: Path, settings: Mapping[str, Any]) -> str | None:
    try:
        return read_regular_file(path / "chat_template.jinja", hint="").decode()
    except (InputError, UnicodeDecodeError):
        pass
    for found in (settings.get("chat_template"), read_json(path / "chat_template.json").get("chat_template")):
        if isinstance(found, str):
            return found
        named = {entry.get("name"): entry.get("template") for entry in _dicts(found)}
        if isinstance(default := named.get("default"), str):
            return default
    return None


def _adds_bos(settings: Mapping[str, Any], tokenizer: Mapping[str, Any], bos: str) -> bool:
    stated = settings.get("add_bos_token")
    if isinstance(stated, bool):
        return stated and bool(bos)
    # Newer tokenizers declare it in their post-processor.
    after = _dict(tokenizer.get("post_processor"))
    for processor in (after, *_dicts(after.get("processors"))):
        for piece in _dicts(processor.get("single"))[:1]:
            return bool(bos) and _dict(piece.get("SpecialToken")).get("id") == bos
    return False


def _text(token: object) -> str:
    """Return the text of a special token, which has one of two formats."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _ids(value: object) -> set[int]:
    values = value if isinstance(value, list) else [value]
    return {entry for entry in values if isinstance(entry, int) and not isinstance(entry, bool)}


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
