"""Read the header of a GGUF file without loading the model.

The vocabulary takes megabytes and precedes some of the needed values. The reader skips the vocabulary if possible.
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

    The message completes a sentence that begins with the file's name.
    """


class _End(GgufError):
    """The data ends before the end of the header."""

    def __init__(self) -> None:
        super().__init__("is truncated or damaged: its header continues past the end of the file")


class Tensor(NamedTuple):
    """A tensor's entry in the header."""

    name: str
    shape: tuple[int, ...]
    """The tensor's dimensions, the innermost first."""
    kind: int
    """The tensor's type, a number of ggml's enum `ggml_type`."""


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
            # If the header is longer than `start`, the rest is read only if values are missing.
            with contextlib.suppress(_End):
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


class _Reader:
    """Reads a header, one value after the other. Raises _End at the end of the data."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._data = data
        self._at = 8
        self._end = len(data)
        self._text = self._strings = 0

    def collect(self, values: dict[str, str | int], *, to_first_list: bool = False) -> None:
        """Collect the values. If the header names no quantization, use the type that most weights have."""
        types: Counter[int] = Counter()
        for tensor in self.tensors(self.values(values, to_first_list=to_first_list)):
            types[tensor.kind] += math.prod(tensor.shape)
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
            yield Tensor(name, tuple(shape), kind)

    def _skip(self, size: int) -> int:
        """Skip `size` bytes, and return the position before these bytes."""
        at, self._at = self._at, self._at + size
        if self._at > self._end:
            raise _End
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
                    raise _End
                at += 8 + length(self._data, at)[0]
            self._skip(at - self._at)
        else:
            raise GgufError(f"is damaged: its header has a list of the unknown type {kind}")
