"""Makes a small model of a real one: the same file without most of its layers.

Its vocabulary, chat template, tensor types and the weights of its first layers are the real ones, so an engine does all
that it does with the whole model, in a fraction of the time. Its answers make no sense.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from paragone.gguf.header import Tensor, read_header, read_tensors

ALIGNMENT = 32


def make_shallow(source: Path, target: Path, layers: int) -> None:
    """Write a copy of a GGUF file with its first layers only."""
    data = source.read_bytes()
    values = read_header(str(source), whole=True).values
    architecture = values["general.architecture"]
    tensors = read_tensors(str(source))
    names = [it.name for it in tensors]
    first = data.index(_text(names[0]))
    head, entries = bytearray(data[:first]), data[first:]

    key = _text(f"{architecture}.block_count") + struct.pack("<I", 4)
    at = head.index(key) + len(key)
    assert struct.unpack_from("<I", head, at) == (values[f"{architecture}.block_count"],)
    struct.pack_into("<I", head, at, layers)

    offsets, at = [], 0
    for tensor in tensors:
        at += len(_text(tensor.name)) + 4 + 8 * len(tensor.shape) + 4
        offsets.append(struct.unpack_from("<Q", entries, at)[0])
        at += 8
    start = first + at + -(first + at) % ALIGNMENT
    ends = [*sorted(offsets)[1:], len(data) - start]
    end_of = dict(zip(sorted(offsets), ends, strict=True))

    kept = [place for place, it in enumerate(tensors) if _layer(it) < layers]
    struct.pack_into("<Q", head, 8, len(kept))
    weights = bytearray()
    for place in kept:
        name, shape, kind = tensors[place]
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(weights))
        weights += data[start + offsets[place] : start + end_of[offsets[place]]]
        weights += bytes(-len(weights) % ALIGNMENT)
    target.write_bytes(head + bytes(-len(head) % ALIGNMENT) + weights)


def _layer(tensor: Tensor) -> int:
    """Return the number of the layer that a tensor belongs to; −1 if it belongs to none."""
    found = re.match(r"blk\.(\d+)\.", tensor.name)
    return int(found[1]) if found else -1


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
