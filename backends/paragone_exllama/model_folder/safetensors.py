"""Read the headers of safetensors files: names, types and shapes of tensors. No weights are read.

The README of Hugging Face's `safetensors` project describes the format: eight bytes with the header's
length, the header in JSON, the tensors.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from paragone.regular_file import NotRegularFileError, open_regular_file

_LONGEST = 100_000_000
"""Largest size of a header in bytes, as in the reference implementation."""


class SafetensorsError(Exception):
    """The file is not a complete safetensors file.

    The message completes a sentence that begins with the file's name.
    """


class SafetensorsTensor(NamedTuple):
    """A tensor's entry in the header."""

    dtype: str
    """The type of the numbers: `F16`, `BF16`, `I32` …"""
    shape: tuple[int, ...]
    size: int
    """Size in bytes."""


def read_header(path: Path) -> dict[str, SafetensorsTensor]:
    """Return the tensors of a file, by name. Raises OSError or SafetensorsError if the file cannot be read."""
    try:
        file = open_regular_file(path)
    except NotRegularFileError as error:
        raise SafetensorsError("is not a file") from error
    with file:
        whole = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _LONGEST:
            raise SafetensorsError("is not a safetensors file")
        text = file.read(length)
    if len(text) < length:
        raise SafetensorsError("is truncated")
    try:
        entries = json.loads(text)
        tensors = {name: _tensor(entry) for name, entry in entries.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for name, entry in entries.items() if name in tensors), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise SafetensorsError("is damaged: its header cannot be read") from error
    if whole < 8 + length + end:
        raise SafetensorsError("is truncated")
    return tensors


def _tensor(entry: dict[str, Any]) -> SafetensorsTensor:
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(size) is int and size >= 0 for size in (start, end, *shape)) or end < start:
        raise ValueError(entry)
    return SafetensorsTensor(str(entry["dtype"]), shape, end - start)
