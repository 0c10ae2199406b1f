"""Makes a small model of a real one: the same file without most of its layers and of its vocabulary.

Its chat template, its tensor types, its first tokens and the weights of its first layers are the real ones, so an engine
does all that it does with the whole model, in a fraction of the time. Its answers make no sense.
"""

import mmap
import re
import struct
from pathlib import Path

from paragone.gguf import Tensor, read_header, read_tensors

ALIGNMENT = 32
UINT32, STRING, ARRAY = 4, 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, UINT32: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each type that has a fixed size."""
LENGTH = struct.Struct("<Q")


def make_shallow(source: Path, target: Path, *, layers: int = 2, vocabulary: int = 4096) -> None:
    """Write a copy of a GGUF file with its first layers and its first tokens only.

    The tokens must be those of byte pair encoding: each merge makes the next token, of two earlier ones.
    """
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        target.write_bytes(_shallow(source, data, layers, vocabulary))


def _shallow(source: Path, data: mmap.mmap, layers: int, vocabulary: int) -> bytes:
    architecture = read_header(str(source)).architecture
    values, at = _values(data)
    count = {name: _length(values[f"tokenizer.ggml.{name}"]) for name in ("tokens", "token_type", "merges")}
    for name, whole in count.items():
        key = f"tokenizer.ggml.{name}"
        values[key] = _first(values[key], whole - count["tokens"] + vocabulary)
    for key, number in (("block_count", layers), ("vocab_size", vocabulary)):
        values[f"{architecture}.{key}"] = struct.pack("<II", UINT32, number)

    tensors = read_tensors(str(source))
    offsets = []
    for name, dimensions, _ in tensors:
        at += len(_text(name)) + 4 + 8 * len(dimensions) + 4
        offsets.append(struct.unpack_from("<Q", data, at)[0])
        at += 8
    start = at + -at % ALIGNMENT
    ends = [*sorted(offsets)[1:], len(data) - start]
    end_of = dict(zip(sorted(offsets), ends, strict=True))

    entries, weights = bytearray(), bytearray()
    kept = [place for place, it in enumerate(tensors) if _layer(it) < layers]
    for place in kept:
        name, (*shape, rows), kind = tensors[place]
        content = data[start + offsets[place] : start + end_of[offsets[place]]]
        if shape and rows == count["tokens"]:
            content = content[: len(content) // rows * vocabulary]
            rows = vocabulary
        entries += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape) + 1, *shape)
        entries += struct.pack("<QIQ", rows, kind, len(weights))
        weights += content + bytes(-len(content) % ALIGNMENT)
    head = data[:8] + struct.pack("<QQ", len(kept), len(values))
    head += b"".join(_text(key) + value for key, value in values.items()) + entries
    return head + bytes(-len(head) % ALIGNMENT) + weights


def _values(data: mmap.mmap) -> tuple[dict[str, bytes], int]:
    """Return the type and value of each key as they stand in the file, and the position after the last."""
    values = {}
    at = 24
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        end = _end(data, STRING, at)
        key = data[at + 8 : end].decode()
        at = _end(data, struct.unpack_from("<I", data, end)[0], end + 4)
        values[key] = data[end:at]
    return values, at


def _end(data: bytes | mmap.mmap, kind: int, at: int, most: int | None = None) -> int:
    """Return the position after a value; after the first `most` items, if it is an array of texts or numbers."""
    if kind == STRING:
        return at + 8 + LENGTH.unpack_from(data, at)[0]
    if kind != ARRAY:
        return at + SIZES[kind]
    kind, count = struct.unpack_from("<IQ", data, at)
    at += 12
    count = count if most is None else most
    if kind in SIZES:
        return at + count * SIZES[kind]
    for _ in range(count):
        at += 8 + LENGTH.unpack_from(data, at)[0]
    return at


def _length(array: bytes) -> int:
    return int(struct.unpack_from("<Q", array, 8)[0])


def _first(array: bytes, count: int) -> bytes:
    return array[:8] + struct.pack("<Q", count) + array[16 : _end(array, ARRAY, 4, count)]


def _layer(tensor: Tensor) -> int:
    """Return the number of the layer that a tensor belongs to; −1 if it belongs to none."""
    found = re.match(r"blk\.(\d+)\.", tensor[0])
    return int(found[1]) if found else -1


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
