"""Find model folders, and describe models from their JSON files and the headers of their weights."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paragone import InputError, ModelInfo
from paragone.hub import folders_below, repository_of, stored_file
from paragone.json_fields import JsonObject, count_at, object_at, texts_at
from paragone.regular_file import read_regular_file
from paragone_exllama.model_folder.formats import StorageFormat, Stored, storage_format
from paragone_exllama.model_folder.safetensors import SafetensorsError, SafetensorsTensor, read_header

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


class _FolderError(Exception):
    """The folder contains no loadable model. The message gives the reason."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model in Hugging Face's layout."""

    path: Path
    config: JsonObject
    stored: Stored
    tensors: Mapping[str, SafetensorsTensor] = field(default_factory=dict)
    """The tensors by name, from the headers of the safetensors files."""

    @property
    def size(self) -> int:
        """Size of the weights in bytes."""
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def name(self) -> str:
        """The model's display name."""
        return repository_of(str(self.path)) or self.path.name

    @property
    def architecture(self) -> str | None:
        """The architecture's name from config.json."""
        return next(iter(texts_at(self.config, "architectures")), None)

    @property
    def context(self) -> int | None:
        """The context window that the model was trained for, in tokens."""
        return self.number(*_CONTEXT)

    @property
    def layers(self) -> int | None:
        """Number of layers."""
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
    distinct = {_weights(path): path for path in sorted(_candidates(folders), reverse=True)}
    models = [info for path in distinct.values() if (info := _info(path, formats)) is not None]
    return sorted(models, key=lambda model: model.model)


def _weights(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(stored_file(str(file)) for file in folder.glob("*.safetensors")))


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
        try:
            tensors |= read_header(file)
        except SafetensorsError as error:
            raise _FolderError(f"cannot be loaded: {file.name} {error}") from error
    return ModelFolder(path, config, storage_format(config, tensors), tensors)


def _problem(folder: ModelFolder) -> str:
    if not (folder.path / "tokenizer.json").exists():
        return "has no tokenizer.json"
    if folder.architecture is None:
        return "does not name an architecture in its config.json"
    if folder.stored.format == "GPTQ" and folder.stored.bits != 4:
        return f"is stored as {folder.stored.name}; only 4-bit GPTQ is supported"
    return ""


def _candidates(folders: Sequence[str]) -> Iterator[Path]:
    """Yield the folders that look like a model, among the given folders and their subfolders."""
    for folder, files in folders_below(folders):
        names = {file.name for file in files}
        if "config.json" in names and any(name.endswith(".safetensors") for name in names):
            yield Path(folder)
