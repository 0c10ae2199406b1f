"""GGUF files: their headers, the files in folders, and the load options of all programs with llama.cpp."""

import contextlib
import math
import mmap
import os
import re
import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from paragone import ModelInfo
from paragone.errors import InputError
from paragone.files import folders_below, open_regular_file, repository_of, snapshot_folders, stored_file
from paragone.options import Options, option
from paragone.shared_options import CHAT_TEMPLATE, LORA_SCALE

_START = 1 << 16
"""Number of bytes to read first: enough for everything before the vocabulary."""

_MOST_VALUES = 1 << 16
_MOST_TENSORS = 1 << 18
_MOST_STRINGS = 1 << 22
"""Largest plausible number of strings in lists. The largest vocabularies have 250,000 strings."""
_MOST_TEXT = 1 << 26
"""Largest plausible number of bytes of all names and single strings together. A tokenizer in JSON has 30 million bytes."""

_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_INTEGERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 7: "<?", 10: "<Q", 11: "<q"}

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""The quantization of a whole file, by the number in llama.cpp's enum `llama_ftype`."""

_TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0",
}  # fmt: skip
"""The type of one tensor, by the number in ggml's enum `ggml_type`."""

_IN_NAME = re.compile(
    r"(?<![a-z0-9])(" + "|".join(sorted(set(FILE_TYPES.values()), key=len, reverse=True)) + r")(?![a-z0-9_])",
    re.IGNORECASE,
)


class GgufError(ValueError):
    """A file is not a readable GGUF file.

    Its text completes a message that begins with the file's name.
    """


_TRUNCATED = "is truncated or damaged: its header continues past the end of the file"


Tensor: TypeAlias = tuple[str, tuple[int, ...], int]
"""A tensor's entry in the header: name, dimensions, the innermost first, and type, a number of ggml's enum `ggml_type`."""


@dataclass(slots=True)
class Header:
    """The contents of a header. None for values that the header lacks."""

    architecture: str | None = None
    name: str | None = None
    kind: str | None = None
    """`model`, `adapter`, `mmproj` …"""
    quantization: str | None = None
    context: int | None = None
    values: dict[str, str | int] = field(default_factory=dict)


def read_header(path: str, *, whole: bool = False) -> Header:
    """Return the contents of a GGUF file's header. With `whole`, read and check the whole header.

    Raises GgufError if the file is damaged, and OSError if the file cannot be read.
    """
    with open_regular_file(path) as file:
        descriptor = file.fileno()
        start = os.read(descriptor, _START)
        _check(start)
        values: dict[str, str | int] = {}
        if not whole:
            # If the header is longer than `start`, or damaged, it is read again only if values are missing.
            with contextlib.suppress(GgufError):
                _Reader(start).collect(values, to_first_list=True)
            named = _IN_NAME.search(os.path.basename(path))  # noqa: PTH119 - thousands of times
            if named and "general.file_type" not in values:
                values["quantization"] = named[1].upper()
            if _is_complete(values):
                return _header(values)
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
            _Reader(content).collect(values)
    return _header(values)


def read_tensors(path: str) -> list[Tensor]:
    """Return the tensors of a GGUF file. Raises GgufError if the file is damaged, and OSError if it cannot be read."""
    with open_regular_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _check(content[:_START])
        reader = _Reader(content)
        return list(reader.tensors(reader.values({})))


def _check(start: bytes) -> None:
    if not start:
        raise GgufError("is empty")
    if start[:4] != b"GGUF":
        raise GgufError("is not a GGUF file")
    if len(start) < 24:
        raise GgufError(_TRUNCATED)
    version = int.from_bytes(start[4:8], "little")
    if version & 0xFFFF == 0:
        raise GgufError("is a GGUF file for big-endian machines")
    if version not in (2, 3):
        raise GgufError(f"is a GGUF file of version {version}; only versions 2 and 3 are supported")


def _is_complete(values: dict[str, str | int]) -> bool:
    architecture = values.get("general.architecture")
    if architecture is None:
        return False
    typed = "general.file_type" in values or "quantization" in values
    # Adapters and projectors have no context. The later parts of a split model have no description.
    return typed and (
        f"{architecture}.context_length" in values or values.get("general.type", "model") != "model"
    )


def _header(values: dict[str, str | int]) -> Header:
    def text(key: str) -> str | None:
        return value if isinstance(value := values.get(key), str) and value else None

    def number(key: str) -> int | None:
        return value if isinstance(value := values.get(key), int) else None

    file_type = number("general.file_type")
    architecture = text("general.architecture")
    return Header(
        architecture=architecture,
        name=text("general.name"),
        kind=text("general.type"),
        quantization=FILE_TYPES.get(-1 if file_type is None else file_type) or text("quantization"),
        context=number(f"{architecture}.context_length"),
        values=values,
    )


class _Reader:
    """Reads a header, one value after the other."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._data = data
        self._at = 8
        self._end = len(data)
        self._text = self._strings = 0

    def collect(self, values: dict[str, str | int], *, to_first_list: bool = False) -> None:
        """Collect the values. If the header names no quantization, use the type that most weights have."""
        types: Counter[int] = Counter()
        for _, shape, kind in self.tensors(self.values(values, to_first_list=to_first_list)):
            types[kind] += math.prod(shape)
        if types and "general.file_type" not in values:
            values["quantization"] = _TENSOR_TYPES.get(types.most_common(1)[0][0], "")

    def values(self, values: dict[str, str | int], *, to_first_list: bool = False) -> int:
        """Collect the strings and integers, up to the list of tensors or to the first long list.

        Return the length of the list of tensors, or 0 if reading stopped before this list.
        """
        tensors, count = self._next("<QQ")
        if tensors > _MOST_TENSORS or count > _MOST_VALUES:
            raise GgufError(f"is damaged: its header has {tensors:,} tensors and {count:,} values")
        for _ in range(count):
            key = self._string()
            (kind,) = self._next("<I")
            if kind == _STRING:
                values[key] = self._string()
            elif kind == _ARRAY:
                if to_first_list and key.startswith("tokenizer."):
                    return 0
                self._skip_list()
            elif kind in _INTEGERS:
                (values[key],) = self._next(_INTEGERS[kind])
            elif kind in _SIZES:
                self._skip(_SIZES[kind])
            else:
                raise GgufError(f"is damaged: its header has a value of the unknown type {kind}")
        return tensors

    def tensors(self, count: int) -> Iterator[Tensor]:
        """Yield the entries of the list of tensors, which follows the values."""
        for _ in range(count):
            name = self._string()
            (dimensions,) = self._next("<I")
            if dimensions > 8:
                raise GgufError(f"is damaged: it has a tensor of {dimensions} dimensions")
            *shape, kind, _offset = self._next(f"<{dimensions}QIQ")
            yield name, tuple(shape), kind

    def _skip(self, size: int) -> int:
        """Skip `size` bytes, and return the position before these bytes."""
        at, self._at = self._at, self._at + size
        if self._at > self._end:
            raise GgufError(_TRUNCATED)
        return at

    def _next(self, form: str) -> tuple[int, ...]:
        return struct.unpack_from(form, self._data, self._skip(struct.calcsize(form)))

    def _string(self) -> str:
        (size,) = self._next("<Q")
        self._text += size
        if self._text > _MOST_TEXT:
            raise GgufError(f"is damaged: its header has {self._text:,} bytes of text")
        at = self._skip(size)
        return self._data[at : self._at].decode("utf-8", "replace")

    def _skip_list(self) -> None:
        kind, count = self._next("<IQ")
        if kind in _SIZES:
            self._skip(_SIZES[kind] * count)
        elif kind == _STRING:
            self._strings += count
            if self._strings > _MOST_STRINGS:
                raise GgufError(f"is damaged: its header has lists of {self._strings:,} strings")
            at, last, length = self._at, self._end - 8, struct.Struct("<Q").unpack_from
            for _ in range(count):
                if at > last:
                    raise GgufError(_TRUNCATED)
                at += 8 + length(self._data, at)[0]
            self._skip(at - self._at)
        else:
            raise GgufError(f"is damaged: its header has a list of the unknown type {kind}")


_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE | re.DOTALL)

_NO_MODELS = {
    "adapter": "is a LoRA adapter, not a model; open its model with the option lora",
    "mmproj": "is the image encoder of a model, not a model",
    "embedding": "is an embedding model, which does not generate text",
    "imatrix": "is an importance matrix, not a model",
}


def find_models(folders: Sequence[str]) -> list[ModelInfo]:
    """List the GGUF models in these folders and their subfolders, sorted by path. A split model is one item.

    Image encoders (mmproj) are skipped. Other files that cannot be loaded are listed with the problem.
    Unreadable folders are skipped. A file of several revisions in Hugging Face's cache is listed once.
    """
    models: dict[tuple[str, ...], ModelInfo | None] = {}

    split: defaultdict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    sizes = dict(sorted(_files(folders)))
    for path in sizes:
        part = _PART.fullmatch(path)
        prefix, number, count = (part[1], int(part[2]), int(part[3])) if part else (path, 1, 1)
        split[prefix, count][number] = path
    for (prefix, count), parts in split.items():
        paths = [parts[number] for number in sorted(parts)]
        missing = [number for number in range(1, count + 1) if number not in parts]
        stored = tuple(map(stored_file, paths))
        if stored not in models:
            problem = _missing(missing, count) if missing else ""
            models[stored] = _model(paths[0], sum(map(sizes.__getitem__, paths)), problem, prefix)
    return sorted((model for model in models.values() if model is not None), key=lambda model: model.model)


def usual_folders() -> list[str]:
    """Return the folders in which other programs keep GGUF files: llama.cpp, LM Studio, Hugging Face's tools.

    Sources: `fs_get_cache_directory` in llama.cpp's common/common.cpp, and LM Studio's documentation.
    """
    if sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    own = os.environ.get("LLAMA_CACHE") or f"{cache}/llama.cpp"
    return [own, "~/.lmstudio/models", "~/.cache/lm-studio/models", *snapshot_folders()]


def check_model(path: Path) -> Header:
    """Return the header of a model to load. Raises InputError if the model cannot be loaded."""
    shown = path.name or str(path)
    try:
        header = read_header(str(path), whole=True)
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.", hint="Check the path.") from error
    except PermissionError as error:
        raise InputError(f"You have no permission to read {path}.", hint="Check the file's mode.") from error
    except IsADirectoryError as error:
        hint = "Name one of the .gguf files in it." if any(path.glob("*.gguf")) else "Name a .gguf file."
        raise InputError(f"{path} is a folder, not a GGUF file.", hint=hint) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except GgufError as error:
        hint = "Download the file again." if "truncated" in str(error) or "damaged" in str(error) else _WANTED
        raise InputError(f"{shown} {error}.", hint=hint) from error
    except ValueError as error:  # a path with a null character in it
        raise InputError(f"{str(path)!r} is not a valid file path.") from error
    problem = _problem(header)
    if problem:
        raise InputError(f"{shown} {problem}.", hint=_WANTED)
    _check_parts(path)
    return header


def parts(path: Path) -> list[Path]:
    """Return all files of a split model that `check_model` has accepted, given the first one."""
    part = _PART.fullmatch(path.name)
    if not part:
        return [path]
    return [path.with_name(f"{part[1]}-{n:05d}-of-{part[3]}.gguf") for n in range(1, int(part[3]) + 1)]


_WANTED = "llama.cpp loads models in the GGUF format."


def _check_parts(path: Path) -> None:
    part = _PART.fullmatch(path.name)
    if not part:
        return
    if int(part[2]) != 1:
        raise InputError(
            f"{path.name} is a later part of a split model.",
            hint=f"Name {part[1]}-00001-of-{part[3]}.gguf instead.",
        )
    files = parts(path)
    missing = [number for number, file in enumerate(files, 1) if not file.exists()]
    if missing:
        raise InputError(f"{path.name} {_missing(missing, len(files))}.", hint="Download the missing parts.")


def _missing(missing: list[int], count: int) -> str:
    numbers = ", ".join(map(str, missing[:8])) + (" …" if len(missing) > 8 else "")
    parts = f"part {numbers} is" if len(missing) == 1 else f"the parts {numbers} are"
    return f"is one of {count} parts, and {parts} missing"


def _model(path: str, size: int, problem: str, prefix: str) -> ModelInfo | None:
    """Describe a model; None if the file is an image encoder. `prefix` is the common part of a split model's paths."""
    header = Header()
    try:
        header = read_header(path)
        if _kind(header) == "mmproj":
            return None
        problem = problem or _problem(header)
    except GgufError as error:
        problem = str(error)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    name = os.path.basename(prefix).removesuffix(".gguf")  # noqa: PTH119
    repository = repository_of(path)
    return ModelInfo(
        model=path,
        name=f"{repository}/{name}" if repository else header.name or name,
        size=size,
        quantization=header.quantization,
        context=header.context,
        architecture=header.architecture,
        problem=problem,
    )


def _kind(header: Header) -> str | None:
    if header.values.get(f"{header.architecture}.attention.causal") == 0:
        return "embedding"
    return "mmproj" if header.architecture == "clip" else header.kind


def _problem(header: Header) -> str:
    kind = _kind(header)
    if kind in _NO_MODELS:
        return _NO_MODELS[kind]
    return "" if header.architecture else "is damaged: its header does not name an architecture"


def _files(folders: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the paths and sizes of the GGUF files in these folders and their subfolders."""
    for _, files in folders_below(folders):
        for entry in files:
            if entry.name.lower().endswith(".gguf"):
                try:
                    yield entry.path, entry.stat().st_size
                except OSError:  # a broken link is listed with its problem
                    yield entry.path, 0


CacheType: TypeAlias = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

# A subclass declares these three options again, with a note on the default.
_REPORTED = "What the engines report of it is compared."

N_CTX = partial(
    option,
    doc="Context window in tokens, for prompt and answer.",
    minimum=16,
    maximum=1 << 24,
    fact="context",
)
N_GPU_LAYERS = partial(
    option,
    doc="Number of layers on the GPU: 0 for none, -1 for all.",
    minimum=-1,
    maximum=10_000,
    same_answers=_REPORTED,
)
N_BATCH = partial(
    option,
    doc="Number of prompt tokens processed in one batch. Fewer tokens give finer progress and, on a GPU, a quicker stop.",
    minimum=1,
    maximum=16384,
    fact="batch size",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufLoadOptions(Options):
    """Options that take effect when a model is loaded. A subclass adds the options of one program."""

    n_ctx: int | None = N_CTX(None)
    n_gpu_layers: int | None = N_GPU_LAYERS(None)
    n_threads: int | None = option(
        None,
        "CPU threads for computation; by default this engine's share of the cores, so that engines that "
        "run at the same time do not slow each other down.",
        minimum=1,
        maximum=1024,
        fact="threads",
    )
    n_batch: int | None = N_BATCH(None)
    flash_attn: Literal["auto", "on", "off"] = option(
        "auto",
        "Flash attention: takes less memory for long contexts; required for a quantized V cache. By default "
        "on if the GPU supports it, and off on the CPU, which is faster without it.",
        fact="flash attention",
    )
    type_k: CacheType = option(  # noqa: RUF009 (frozen)
        "f16", "Number type of the K half of the KV cache; q8_0 halves its memory.", fact="K cache"
    )
    type_v: CacheType = option(  # noqa: RUF009 (frozen)
        "f16", "Number type of the V half of the KV cache; q8_0 halves its memory.", fact="V cache"
    )
    tensor_split: tuple[float, ...] = option(
        (),
        "Proportions of the model on each GPU, such as 3,1; by default in proportion to the GPUs' free memory.",
        minimum=0,
    )
    main_gpu: int | None = option(
        None,
        "Number of the GPU that holds the whole model; by default the model is spread over all GPUs.",
        minimum=0,
        maximum=1023,
    )
    lora: str | None = option(
        None,
        "Path of a LoRA adapter in GGUF to apply to the model.",
        metavar="path",
        outside="file",
        same_answers=_REPORTED,
    )
    lora_scale: float = LORA_SCALE(1.0, same_answers=_REPORTED)
    chat_template: str | None = CHAT_TEMPLATE(None)
    rpc_servers: tuple[str, ...] = option(
        (), "Addresses (HOST:PORT) of llama.cpp RPC servers to use as additional devices."
    )


OptionsT = TypeVar("OptionsT", bound=GgufLoadOptions)

_FLOATS = ("f32", "f16", "bf16")

_BATCH_ON_CPU = 128
"""Number of prompt tokens in a batch on the CPU, where a program can stop only between two batches."""


def check_file(named: str, option: str, kind: str, title: str) -> Path:
    """Return the path of a file that belongs to a model, such as an adapter. `kind` is the kind in its header. Raises
    InputError."""
    path = Path(named)
    try:
        path = path.expanduser().absolute()
        header = read_header(str(path))
    except GgufError as error:
        raise InputError(f"{option}: {path.name} {error}.") from error
    except (OSError, RuntimeError, ValueError) as error:  # an unknown home folder, a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{option}: the file {named} cannot be read: {reason}.") from error
    if header.kind != kind and not (kind == "mmproj" and header.architecture == "clip"):
        raise InputError(f"{option}: {path.name} is not {title}.")
    return path


def check_load_options(options: GgufLoadOptions) -> None:
    """Check the options that exclude each other. Raises InputError."""
    if options.main_gpu is not None and options.tensor_split:
        raise InputError("Only one of the options 'main_gpu' and 'tensor_split' can be set.")
    if options.flash_attn == "off" and options.type_v not in _FLOATS:
        raise InputError(
            f"The option 'type_v' cannot be {options.type_v} without flash attention.",
            hint="Set flash_attn to auto, or type_v to f16.",
        )


def with_cpu_defaults(options: OptionsT) -> OptionsT:
    """Return the options, with the defaults for a model on the CPU instead of unset options."""
    flash_attn = options.flash_attn
    if flash_attn == "auto" and options.type_v in _FLOATS:
        # llama.cpp would turn flash attention on. Measured on a CPU with 6,000 tokens of context: 22 ms per token
        # without flash attention, 30 ms with it. With 500 tokens there is no difference.
        flash_attn = "off"
    return replace(options, flash_attn=flash_attn, n_batch=options.n_batch or _BATCH_ON_CPU)
