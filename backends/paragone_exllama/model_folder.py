"""Find model folders, and describe models from their JSON files and the headers of their weights."""

from __future__ import annotations

import json
import os
import re
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from paragone import InputError, Json, ModelInfo, files, json_values

_LONGEST = 100_000_000
"""Largest size of a header in bytes, as in the reference implementation."""


class SafetensorsTensor(NamedTuple):
    dtype: str
    """The type of the numbers: `F16`, `BF16`, `I32` …"""
    shape: tuple[int, ...]
    size: int
    """Size in bytes."""


def _read_header(path: Path) -> dict[str, SafetensorsTensor]:
    """Return the tensors of a file, by name. Raises OSError if the file cannot be read, and ValueError, with a message
    that completes "the model", if it is damaged."""
    bad = f"cannot be loaded: {path.name}"
    try:
        file = files.open_regular_file(path)
    except files.NotRegularFileError as error:
        raise ValueError(f"{bad} is not a file") from error
    with file:
        whole = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _LONGEST:
            raise ValueError(f"{bad} is not a safetensors file")
        text = file.read(length)
    try:
        entries = json.loads(text) if len(text) == length else {}
        tensors = {name: _tensor(entry) for name, entry in entries.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for name, entry in entries.items() if name in tensors), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"{bad} is damaged: its header cannot be read") from error
    if whole < 8 + length + end:
        raise ValueError(f"{bad} is truncated")
    return tensors


def _tensor(entry: dict[str, Any]) -> SafetensorsTensor:
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(size) is int and size >= 0 for size in (start, end, *shape)) or end < start:
        raise ValueError(entry)
    return SafetensorsTensor(str(entry["dtype"]), shape, end - start)


StorageFormat: TypeAlias = Literal["EXL2", "EXL3", "GPTQ", "plain", "other"]

V2_FORMATS: Final[Collection[StorageFormat]] = ("EXL2", "GPTQ", "plain")
V3_FORMATS: Final[Collection[StorageFormat]] = ("EXL3", "plain")
"""The formats that each library can load."""

_PLAIN = ("F16", "BF16", "F32")


def storage_format(
    config: json_values.JsonObject, tensors: Mapping[str, SafetensorsTensor]
) -> tuple[StorageFormat, str]:
    """Return the format of these tensors, and its standard name: `EXL2 4.0 bpw`, `GPTQ 4-bit`, `BF16`. `config` is the
    model's config.json."""
    stated = json_values.object_at(config, "quantization_config")
    method = json_values.text_at(stated, "quant_method").lower()
    endings = {name.rpartition(".")[2] for name in tensors}
    bits = json_values.number_at(stated, "bits") or 0
    bits = bits if 0 < bits <= 32 else 0
    exl: StorageFormat | None = "EXL2" if "q_weight" in endings else "EXL3" if "trellis" in endings else None
    if exl is not None:
        return exl, f"{exl} {f'{bits:.2f}'.removesuffix('0')} bpw" if bits else exl
    if "qweight" in endings and method == "gptq":
        return "GPTQ", f"GPTQ {bits:g}-bit" if bits else "GPTQ"
    if method or "qweight" in endings:
        return "other", method.upper() or "unknown"
    sizes: Counter[str] = Counter()
    for tensor in tensors.values():
        sizes[tensor.dtype] += tensor.size
    most = sizes.most_common(1)[0][0] if sizes else "unknown"
    return ("plain" if most in _PLAIN else "other"), most


_KINDS = ("ForCausalLM", "ForConditionalGeneration")
"""Name suffixes of architectures that generate text."""

_MOST = 1 << 48
"""Largest plausible number in config.json."""

_CONTEXT = (
    "max_position_embeddings",
    "max_sequence_length",
    "model_max_length",
    "max_seq_len",
    "n_positions",
)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    path: Path
    config: json_values.JsonObject
    tensors: Mapping[str, SafetensorsTensor]
    """The tensors by name, from the headers of the safetensors files; none if a file is missing or damaged."""
    format: StorageFormat
    quantization: str
    """The format's standard name: `EXL2 4.0 bpw`, `GPTQ 4-bit`, `BF16`."""
    problem: str
    """Why the model cannot be loaded, to complete a message that begins with its name; empty without a known reason."""

    @property
    def size(self) -> int:
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def name(self) -> str:
        return files.repository_of(str(self.path)) or self.path.name or str(self.path)

    @property
    def architecture(self) -> str | None:
        return next(iter(json_values.texts_at(self.config, "architectures")), None)

    @property
    def context(self) -> int | None:
        """The context window that the model was trained for, in tokens."""
        return self.number(*_CONTEXT)

    @property
    def layers(self) -> int | None:
        return self.number("num_hidden_layers", "n_layers", "n_layer")

    @property
    def hidden(self) -> int:
        """Width of the hidden state; 0 if unknown."""
        return self.number("hidden_size", "d_model", "n_embd") or 0

    @property
    def cache_numbers(self) -> int:
        """How many numbers the KV cache has per token; 0 if unknown."""
        heads = self.number("num_attention_heads", "n_heads", "n_head")
        if not heads:
            return 0
        width = self.number("head_dim") or self.hidden // heads
        return 2 * (self.layers or 0) * (self.number("num_key_value_heads") or heads) * width

    def number(self, *keys: str) -> int | None:
        """Return the first positive integer in config.json under one of these keys."""
        for values in (self.config, json_values.object_at(self.config, "text_config")):
            for key in keys:
                if 0 < (value := json_values.count_at(values, key) or 0) < _MOST:
                    return value
        return None


def find_models(folders: Sequence[str], formats: Collection[StorageFormat]) -> list[ModelInfo]:
    """List the models of these formats in the given folders and their subfolders, by path. Damaged models are listed
    with their problem. Unreadable folders are skipped. Of several revisions in Hugging Face's cache with the same
    weights, only one is listed."""
    candidates = [
        Path(folder)
        for folder, files in files.folders_below(folders)
        if "config.json" in (names := {file.name for file in files})
        and any(name.endswith(".safetensors") for name in names)
    ]
    distinct = {
        tuple(sorted(files.stored_file(str(file)) for file in path.glob("*.safetensors"))): path
        for path in sorted(candidates, reverse=True)
    }
    models = [info for path in distinct.values() if (info := _info(path, formats)) is not None]
    return sorted(models, key=lambda model: model.model)


def check_folder(path: Path, formats: Collection[StorageFormat], title: str) -> ModelFolder:
    """Return the description of a model to load. Raises InputError if the model cannot be loaded."""
    if path.is_file():
        hint = f"Name the folder of this file: {path.parent}." if path.suffix == ".safetensors" else ""
        raise InputError(f"{path} is a file; {title} loads a model's folder.", hint=hint)
    if not path.is_dir():
        raise InputError(f"There is no folder {path}.", hint="Check the path.")
    try:
        folder = _read(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if folder.problem and not folder.tensors:
        raise InputError(f"{folder.name} {folder.problem}.", hint="Download the model again.")
    if folder.format not in formats:
        raise InputError(
            f"{folder.name} is stored as {folder.quantization}, which {title} does not load.",
            hint=f"{title} loads {', '.join(_NAMES[name] for name in _NAMES if name in formats)}.",
        )
    if folder.problem:
        raise InputError(f"{folder.name} {folder.problem}.")
    return folder


def read_json(path: Path) -> json_values.JsonObject:
    """Return the object in a JSON file; an empty object if the file is missing or has no object."""
    try:
        return json_values.object_at(json.loads(files.read_regular_file(path, hint="")))
    except (InputError, ValueError, RecursionError):
        return {}


_NAMES: dict[StorageFormat, str] = {
    "EXL2": "EXL2", "EXL3": "EXL3", "GPTQ": "4-bit GPTQ", "plain": "unquantized weights",
}  # fmt: skip


def _info(path: Path, formats: Collection[StorageFormat]) -> ModelInfo | None:
    try:
        folder = _read(path)
    except OSError:
        return None
    if not (folder.architecture or "").endswith(_KINDS):
        return None
    if not folder.problem and folder.format not in formats:
        return None
    return ModelInfo(
        model=str(path),
        name=folder.name,
        size=folder.size or None,
        quantization=None if folder.problem else folder.quantization,
        context=folder.context,
        architecture=folder.architecture,
        problem=folder.problem,
    )


def _read(path: Path) -> ModelFolder:
    """Describe a model. Raises OSError if a file of weights cannot be read."""
    config_file = path / "config.json"
    config = read_json(config_file)
    tensors: dict[str, SafetensorsTensor] = {}
    problem = "" if config else "has a damaged config.json" if config_file.exists() else "has no config.json"
    if not problem:
        try:
            tensors = _read_tensors(path)
        except ValueError as error:
            problem = str(error)
    format_, quantization = storage_format(config, tensors)
    if not problem:
        if not (path / "tokenizer.json").exists():
            problem = "has no tokenizer.json"
        elif not json_values.texts_at(config, "architectures"):
            problem = "does not name an architecture in its config.json"
        elif format_ == "GPTQ" and quantization != "GPTQ 4-bit":
            problem = f"is stored as {quantization}; only 4-bit GPTQ is supported"
    return ModelFolder(path, config, tensors, format_, quantization, problem)


def _read_tensors(path: Path) -> dict[str, SafetensorsTensor]:
    """Return the tensors of all files. Raises the errors of `_read_header`."""
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise ValueError("has no weights in the safetensors format")
    index = read_json(path / "model.safetensors.index.json")
    wanted = {name for name in json_values.object_at(index, "weight_map").values() if isinstance(name, str)}
    missing = sorted(wanted - {file.name for file in files})
    if missing:
        raise ValueError(f"lacks {len(missing)} of its {len(wanted)} weight files, such as {missing[0]}")
    return {name: tensor for file in files for name, tensor in _read_header(file).items()}


_SPACE = "▁"
"""SentencePiece's character for a space."""

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_NAME = re.compile(r"<\|.*\|>|<｜.*｜>|<unused.*>", re.DOTALL)
"""Added tokens that llama.cpp's converter treats as control tokens even if they are not marked as special."""


TokenBytes: TypeAlias = tuple[Mapping[int, bytes], frozenset[int]]
"""The bytes of each token, or the name of a control token; and the ids of the control tokens, which have no text."""


def token_bytes(tokenizer: json_values.JsonObject) -> TokenBytes | None:
    """Return the bytes of each token. `tokenizer` is the object in tokenizer.json. Returns None if the vocabulary is
    neither byte-level BPE nor SentencePiece."""
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
    for name, number, special in _added(tokenizer):
        if special or _NAME.fullmatch(name):
            control.add(number)
            found[number] = _utf8(name)
        else:
            found[number] = _utf8(name.replace(_SPACE, " "))
    return found, frozenset(control)


def _added(tokenizer: json_values.JsonObject) -> Iterator[tuple[str, int, bool]]:
    """Yield the text and the id of each token that tokenizer.json adds, and whether it is special."""
    for token in json_values.objects_at(tokenizer, "added_tokens"):
        text, number = json_values.text_at(token, "content"), json_values.count_at(token, "id")
        if text and number is not None:
            yield text, number, bool(json_values.flag_at(token, "special"))


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
"""Tokens that end an answer in every model that has these tokens. The list is needed because some quantized models
lack generation_config.json."""


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

    def end_tokens(self, id_of: Callable[[str], int | None]) -> frozenset[int]:
        """Return the ids of the tokens that end an answer. `id_of` returns the id of the token with a given text."""
        return self.end_ids | {found for text in self.end_texts if (found := id_of(text)) is not None}


def read_tokenizer_files(folder: ModelFolder, chat_template: str | None) -> TokenizerFiles:
    """Read a model's files. `chat_template` is the load option of this name. Raises InputError."""
    path = folder.path
    settings = read_json(path / "tokenizer_config.json")
    tokenizer = read_json(path / "tokenizer.json")
    known = {text: number for text, number, _ in _added(tokenizer)}
    eos = _text(settings.get("eos_token"))
    ends = [text for text in _ENDS if text in known]
    if "<|end|>" in known and "<|channel|>" not in known:
        ends.append("<|end|>")  # this token ends an answer in Phi, but a channel in gpt-oss
    bos = _text(settings.get("bos_token"))
    if chat_template is None:
        template = _template(path, settings)
    else:
        template = files.option_text(chat_template, "chat_template") or None
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
        return files.read_regular_file(path / "chat_template.jinja", hint="").decode()
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
