"""Find model folders, and describe models from their JSON files and the headers of their weights."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from paragone import InputError, ModelInfo
from paragone.files import (
    NotRegularFileError,
    folders_below,
    open_regular_file,
    read_regular_file,
    repository_of,
    stored_file,
)
from paragone.json_values import JsonObject, count_at, number_at, object_at, text_at, texts_at

_LONGEST = 100_000_000
"""Largest size of a header in bytes, as in the reference implementation."""


class _FolderError(Exception):
    """The folder contains no loadable model. The message completes a sentence that begins with the folder's name."""


class SafetensorsTensor(NamedTuple):
    dtype: str
    """The type of the numbers: `F16`, `BF16`, `I32` …"""
    shape: tuple[int, ...]
    size: int
    """Size in bytes."""


def _read_header(path: Path) -> dict[str, SafetensorsTensor]:
    """Return the tensors of a file, by name. Raises OSError or _FolderError if the file cannot be read."""
    bad = f"cannot be loaded: {path.name}"
    try:
        file = open_regular_file(path)
    except NotRegularFileError as error:
        raise _FolderError(f"{bad} is not a file") from error
    with file:
        whole = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _LONGEST:
            raise _FolderError(f"{bad} is not a safetensors file")
        text = file.read(length)
    if len(text) < length:
        raise _FolderError(f"{bad} is truncated")
    try:
        entries = json.loads(text)
        tensors = {name: _tensor(entry) for name, entry in entries.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for name, entry in entries.items() if name in tensors), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _FolderError(f"{bad} is damaged: its header cannot be read") from error
    if whole < 8 + length + end:
        raise _FolderError(f"{bad} is truncated")
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


class Stored(NamedTuple):
    format: StorageFormat
    name: str
    """The standard name: `EXL2 4.0 bpw`, `GPTQ 4-bit`, `BF16`."""
    bits: float | None = None
    """Bits per weight of the linear layers without the head; None for unquantized weights."""


def storage_format(config: JsonObject, tensors: Mapping[str, SafetensorsTensor]) -> Stored:
    """Return the format of these tensors. `config` is the model's config.json."""
    stated = object_at(config, "quantization_config")
    method = text_at(stated, "quant_method").lower()
    endings = {name.rpartition(".")[2] for name in tensors}
    if "q_weight" in endings:
        return _exl("EXL2", stated, _counted_bits(tensors, "q_weight"))
    if "trellis" in endings:
        return _exl("EXL3", stated, _counted_bits(tensors, "trellis"))
    if "qweight" in endings and method == "gptq":
        bits = _bits(stated)
        return Stored("GPTQ", f"GPTQ {bits:g}-bit" if bits else "GPTQ", bits)
    if method or "qweight" in endings:
        return Stored("other", method.upper() or "unknown")
    sizes: dict[str, int] = {}
    for tensor in tensors.values():
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.size
    most = max(sizes, key=lambda dtype: sizes[dtype], default="")
    return Stored("plain", most) if most in _PLAIN else Stored("other", most or "unknown")


def _exl(kind: Literal["EXL2", "EXL3"], stated: JsonObject, counted: float | None) -> Stored:
    # The name states the bits per weight that the model's author requested. The number counted from the tensors differs.
    bits = _bits(stated) or counted
    return Stored(kind, f"{kind} {f'{bits:.2f}'.removesuffix('0')} bpw" if bits else kind, bits)


def _bits(stated: JsonObject) -> float | None:
    """Return the bits per weight in the model's config; None if the number is implausible."""
    bits = number_at(stated, "bits")
    return bits if bits is not None and 0 < bits <= 32 else None


def _counted_bits(
    tensors: Mapping[str, SafetensorsTensor], matrix: Literal["q_weight", "trellis"]
) -> float | None:
    """Compute the bits per weight of all layers without the head. `matrix` is the part with the weights of a layer."""
    layers: dict[str, dict[str, SafetensorsTensor]] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        layers.setdefault(layer, {})[part] = tensor
    stored = weights = 0
    for layer, parts in layers.items():
        if matrix not in parts or layer.rpartition(".")[2] == "lm_head":
            continue
        shape, count = parts[matrix].shape, 0
        if matrix == "trellis" and len(shape) == 3:
            count = 256 * shape[0] * shape[1]  # tiles of 16 × 16 weights
        elif matrix == "q_weight" and len(shape) == 2:
            order = next((parts[name].shape for name in ("q_invperm", "q_perm") if name in parts), ())
            count = order[0] * shape[1] if len(order) == 1 else 0  # the order has a number for each row
        if count:
            stored += sum(part.size for part in parts.values())
            weights += count
    return round(8 * stored / weights, 2) if weights else None


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
    config: JsonObject
    stored: Stored
    tensors: Mapping[str, SafetensorsTensor] = field(default_factory=dict)
    """The tensors by name, from the headers of the safetensors files."""

    @property
    def size(self) -> int:
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def name(self) -> str:
        return repository_of(str(self.path)) or self.path.name

    @property
    def architecture(self) -> str | None:
        return next(iter(texts_at(self.config, "architectures")), None)

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
    def cache_width(self) -> int:
        """How many numbers a layer's keys have per token; 0 if unknown."""
        heads = self.number("num_attention_heads", "n_heads", "n_head")
        if not heads:
            return 0
        width = self.number("head_dim") or self.hidden // heads
        return (self.number("num_key_value_heads") or heads) * width

    @property
    def cache_numbers(self) -> int:
        """How many numbers the KV cache has per token; 0 if unknown."""
        return 2 * (self.layers or 0) * self.cache_width

    def number(self, *keys: str) -> int | None:
        """Return the first positive integer in config.json under one of these keys."""
        for values in (self.config, object_at(self.config, "text_config")):
            for key in keys:
                if 0 < (value := count_at(values, key) or 0) < _MOST:
                    return value
        return None


def find_models(folders: Sequence[str], formats: Collection[StorageFormat]) -> list[ModelInfo]:
    """List the models of these formats in the given folders and their subfolders, by path.

    Damaged models are listed with their problem. Unreadable folders are skipped. Of the revisions in Hugging
    Face's cache that have the same weights, one is listed.
    """
    candidates = [
        Path(folder)
        for folder, files in folders_below(folders)
        if "config.json" in (names := {file.name for file in files})
        and any(name.endswith(".safetensors") for name in names)
    ]
    distinct = {
        tuple(sorted(stored_file(str(file)) for file in path.glob("*.safetensors"))): path
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
        problem = _problem(folder)
    except _FolderError as error:
        raise InputError(f"{path.name or path} {error}.", hint="Download the model again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if folder.stored.format not in formats:
        raise InputError(
            f"{folder.name} is stored as {folder.stored.name}, which {title} does not load.",
            hint=f"{title} loads {', '.join(_NAMES[name] for name in _NAMES if name in formats)}.",
        )
    if problem:
        raise InputError(f"{folder.name} {problem}.")
    return folder


def read_json(path: Path) -> JsonObject:
    """Return the object in a JSON file; an empty object if the file is missing or has no object."""
    try:
        return object_at(json.loads(read_regular_file(path, hint="")))
    except (InputError, ValueError, RecursionError):
        return {}


_NAMES: dict[StorageFormat, str] = {
    "EXL2": "EXL2", "EXL3": "EXL3", "GPTQ": "4-bit GPTQ", "plain": "unquantized weights",
}  # fmt: skip


def _info(path: Path, formats: Collection[StorageFormat]) -> ModelInfo | None:
    config = read_json(path / "config.json")
    if not any(name.endswith(_KINDS) for name in texts_at(config, "architectures")[:1]):
        return None
    problem = ""
    try:
        folder = _read(path)
        problem = _problem(folder)
    except _FolderError as error:
        problem = str(error)
        folder = ModelFolder(path, config, storage_format(config, {}))
    except OSError:
        return None
    if not problem and folder.stored.format not in formats:
        return None
    return ModelInfo(
        model=str(path),
        name=folder.name,
        size=folder.size or None,
        quantization=None if problem else folder.stored.name,
        context=folder.context,
        architecture=folder.architecture,
        problem=problem,
    )


def _read(path: Path) -> ModelFolder:
    config_file = path / "config.json"
    config = read_json(config_file)
    if not config:
        raise _FolderError("has a damaged config.json" if config_file.exists() else "has no config.json")
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise _FolderError("has no weights in the safetensors format")
    index = read_json(path / "model.safetensors.index.json")
    wanted = {name for name in object_at(index, "weight_map").values() if isinstance(name, str)}
    missing = sorted(wanted - {file.name for file in files})
    if missing:
        raise _FolderError(f"lacks {len(missing)} of its {len(wanted)} weight files, such as {missing[0]}")
    tensors: dict[str, SafetensorsTensor] = {}
    for file in files:
        tensors |= _read_header(file)
    return ModelFolder(path, config, storage_format(config, tensors), tensors)


def _problem(folder: ModelFolder) -> str:
    if not (folder.path / "tokenizer.json").exists():
        return "has no tokenizer.json"
    if folder.architecture is None:
        return "does not name an architecture in its config.json"
    if folder.stored.format == "GPTQ" and folder.stored.bits != 4:
        return f"is stored as {folder.stored.name}; only 4-bit GPTQ is supported"
    return ""
