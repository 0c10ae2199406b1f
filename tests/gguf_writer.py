"""Writes GGUF files for tests. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = str | bool | int | float | list[str] | list[float] | list[int]
"""The value of a metadata key.

An int is written as uint32, a float as float32; in lists, an int is written as int32.
"""

Tensor: TypeAlias = tuple[str, Sequence[int], int] | tuple[str, Sequence[int], int, bytes]
"""Name, shape with the innermost dimension first, ggml type, and optionally the data."""


def gguf(values: Mapping[str, Value], tensors: Sequence[Tensor] = (), *, version: int = 3) -> bytes:
    """Return the bytes of a GGUF file."""
    places = []
    weights = bytearray()
    for name, shape, kind, *content in tensors:
        places.append((name, shape, kind, len(weights)))
        weights += b"".join(content)
        weights += bytes(-len(weights) % 32)
    header = _header(values, places, version=version)
    return _padded(header) + weights if weights else header


def write_hollow(
    path: Path, values: Mapping[str, Value], tensors: Sequence[tuple[str, Sequence[int], int, int]]
) -> None:
    """Write a GGUF file of any size that takes no space on disk: its weights are a hole, which reads as zeros.

    A tensor is its name, shape, ggml type and size in bytes.
    """
    places, at = [], 0
    for name, shape, kind, size in tensors:
        places.append((name, shape, kind, at))
        at += size + -size % 32
    header = _padded(_header(values, places))
    path.write_bytes(header)
    os.truncate(path, len(header) + at)


def _header(
    values: Mapping[str, Value], places: Sequence[tuple[str, Sequence[int], int, int]], *, version: int = 3
) -> bytes:
    out = [b"GGUF", struct.pack("<IQQ", version, len(places), len(values))]
    for key, value in values.items():
        out += [_text(key), _value(value)]
    for name, shape, kind, offset in places:
        out += [_text(name), struct.pack("<I", len(shape))]
        out.append(struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset))
    return b"".join(out)


def _padded(header: bytes) -> bytes:
    return header + bytes(-len(header) % 32)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        numbers = [item for item in value if isinstance(item, float)]
        if numbers:
            return struct.pack(f"<IIQ{len(numbers)}f", 9, 6, len(numbers), *numbers)
        whole = [item for item in value if isinstance(item, int)]
        if whole:
            return struct.pack(f"<IIQ{len(whole)}i", 9, 5, len(whole), *whole)
        texts = [item for item in value if isinstance(item, str)]
        return struct.pack("<IIQ", 9, 8, len(texts)) + b"".join(map(_text, texts))
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<II", 4, value)
