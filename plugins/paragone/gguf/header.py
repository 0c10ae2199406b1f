"""Read the header of a GGUF file without loading the model.

The vocabulary takes megabytes and precedes some of the needed values. It is skipped if possible.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from paragone.regular_file import open_regular_file

__all__ = ["FILE_TYPES", "GgufError", "Header", "Tensor", "read_header", "read_tensors"]

_START = 1 << 16
"""Number of bytes to read first: enough for everything before the vocabulary."""

_MOST_STRINGS = 1 << 24
"""Longest plausible list of strings. The largest vocabularies have a quarter of a million."""

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
"""llama_ftype: the quantization of a file as a whole."""

_TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0",
}  # fmt: skip
"""ggml_type: the type of one tensor."""

_IN_NAME = re.compile(
    r"(?<![a-z0-9])(" + "|".join(sorted(set(FILE_TYPES.values()), key=len, reverse=True)) + r")(?![a-z0-9_])",
    re.IGNORECASE,
)


class GgufError(ValueError):
    """A file is not a readable GGUF file.

    The message completes a sentence that begins with the file's name.
    """


class _End(GgufError):
    """The bytes end before the header does."""

    def __init__(self) -> None:
        super().__init__("is truncated or damaged: its header continues past the end of the file")


class Tensor(NamedTuple):
    """A tensor's entry in the header."""

    name: str
    shape: tuple[int, ...]
    """Its dimensions, the innermost first."""
    kind: int
    """Its ggml_type."""


@dataclass(slots=True)
class Header:
    """The contents of a header. None for values that it does not have."""

    architecture: str | None = None
    name: str | None = None
    kind: str | None = None
    """`model`, `adapter`, `mmproj` …"""
    quantization: str | None = None
    context: int | None = None
    values: dict[str, str | int] = field(default_factory=dict)


def read_header(path: str, *, whole: bool = False) -> Header:
    """Return the contents of a GGUF file's header; with `whole`, read and check all of it.

    Raises GgufError if the file is damaged, and OSError if it cannot be read.
    """
    with open_regular_file(path) as file:
        descriptor = file.fileno()
        start = os.read(descriptor, _START)
        _check(start)
        values: dict[str, str | int] = {}
        if not whole:
            # If the header is longer, the missing values decide whether to read on.
            with contextlib.suppress(_End):
                at, count = _walk(start, values, to_first_list=True)
                _tensors(start, at, len(start), count, values)
            named = _IN_NAME.search(os.path.basename(path))  # noqa: PTH119 - thousands of times
            if named and "general.file_type" not in values:
                values["quantization"] = named[1].upper()
            if _is_complete(values):
                return _header(values)
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
            at, count = _walk(content, values)
            _tensors(content, at, len(content), count, values)
    return _header(values)


def read_tensors(path: str) -> list[Tensor]:
    """Return the tensors of a GGUF file. Raises GgufError and OSError."""
    with open_regular_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _check(content[:_START])
        at, count = _walk(content, {})
        return list(_each(content, at, len(content), count))


def _check(start: bytes) -> None:
    if not start:
        raise GgufError("is empty")
    if start[:4] != b"GGUF":
        raise GgufError("is not a GGUF file")
    if len(start) < 24:
        raise _End
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


def _walk(
    data: bytes | mmap.mmap, values: dict[str, str | int], *, to_first_list: bool = False
) -> tuple[int, int]:
    """Collect the strings and integers of a header, up to its first long list or to the list of tensors.

    Returns the position of the list of tensors and its length, which is 0 if it stopped before that list.
    """
    tensors, count = struct.unpack_from("<QQ", data, 8)
    at, end = 24, len(data)
    for _ in range(count):
        key, at = _string(data, at, end)
        if at + 4 > end:
            raise _End
        kind = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if kind == _STRING:
            values[key], at = _string(data, at, end)
        elif kind == _ARRAY:
            if to_first_list and key.startswith("tokenizer."):
                return at, 0
            at = _skip_list(data, at, end)
        elif kind in _SIZES:
            size = _SIZES[kind]
            if at + size > end:
                raise _End
            if kind in _INTEGERS:
                values[key] = struct.unpack_from(_INTEGERS[kind], data, at)[0]
            at += size
        else:
            raise GgufError(f"is damaged: its header has a value of the unknown type {kind}")
    return at, tensors


def _tensors(data: bytes | mmap.mmap, at: int, end: int, count: int, values: dict[str, str | int]) -> None:
    """Read the list of tensors. If the header names no quantization, use the type of most of the weights."""
    types: Counter[int] = Counter()
    for tensor in _each(data, at, end, count):
        types[tensor.kind] += math.prod(tensor.shape)
    if types and "general.file_type" not in values:
        values["quantization"] = _TENSOR_TYPES.get(types.most_common(1)[0][0], "")


def _each(data: bytes | mmap.mmap, at: int, end: int, count: int) -> Iterator[Tensor]:
    for _ in range(count):
        name, at = _string(data, at, end)
        if at + 4 > end:
            raise _End
        dimensions = int.from_bytes(data[at : at + 4], "little")
        if dimensions > 8:
            raise GgufError(f"is damaged: it has a tensor of {dimensions} dimensions")
        at += 4
        if at + 8 * dimensions + 12 > end:
            raise _End
        *shape, kind = struct.unpack_from(f"<{dimensions}QI", data, at)
        at += 8 * dimensions + 12
        yield Tensor(name, tuple(shape), kind)


def _string(data: bytes | mmap.mmap, at: int, end: int) -> tuple[str, int]:
    if at + 8 > end:
        raise _End
    start = at + 8
    at = start + int.from_bytes(data[at:start], "little")
    if at > end:
        raise _End
    return data[start:at].decode("utf-8", "replace"), at


def _skip_list(data: bytes | mmap.mmap, at: int, end: int) -> int:
    if at + 12 > end:
        raise _End
    kind, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if kind in _SIZES:
        at += _SIZES[kind] * count
    elif kind == _STRING:
        if count > _MOST_STRINGS:
            raise GgufError(f"is damaged: its header has a list of {count:,} strings")
        length = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at + 8 > end:
                raise _End
            at += 8 + length(data, at)[0]
    else:
        raise GgufError(f"is damaged: its header has a list of the unknown type {kind}")
    if at > end:
        raise _End
    return at
