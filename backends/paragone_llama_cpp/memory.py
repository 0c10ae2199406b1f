"""How long a context fits in memory."""

from __future__ import annotations

from pathlib import Path

from llama_cpp import llama_cpp as lib

from paragone_llama_cpp import library
from paragone_llama_cpp.gguf import Header
from paragone_llama_cpp.options import CacheType, LlamaCppLoadOptions

__all__ = ["longest_context"]

_BYTES: dict[CacheType, float] = {
    "f32": 4, "f16": 2, "bf16": 2, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32,
    "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip
"""Bytes of one number in the KV cache."""

_STEP = 256


def longest_context(model: int, options: LlamaCppLoadOptions, header: Header) -> int:
    """Return the model's own context, or as much of it as takes half of the free memory.

    The other half is for what computing needs, for the next lane and for the rest of the machine.
    Models whose layers do not all remember everything get by with less than is reckoned here.
    """
    trained: int = lib.llama_model_n_ctx_train(model)
    token = _bytes_per_token(model, options, header)
    if not token:
        return trained  # a recurrent model: its memory does not grow
    fits = int(_free(model, options) / 2 / token) // _STEP * _STEP
    return min(trained, max(fits, 2 * _STEP))


def _bytes_per_token(model: int, options: LlamaCppLoadOptions, header: Header) -> float:
    """Return what one token takes in the KV cache."""
    head = lib.llama_model_n_embd(model) // max(1, lib.llama_model_n_head(model))

    def length(half: str) -> int:
        value = header.values.get(f"{header.architecture}.attention.{half}_length", head)
        return value if isinstance(value, int) else head

    numbers = length("key") * _BYTES[options.type_k] + length("value") * _BYTES[options.type_v]
    return float(lib.llama_model_n_layer(model) * lib.llama_model_n_head_kv(model) * numbers)


def _free(model: int, options: LlamaCppLoadOptions) -> int:
    """Return the free bytes of the memory in which the cache will lie."""
    layers = options.n_gpu_layers
    if library.offloads() and (layers is None or not 0 <= layers < lib.llama_model_n_layer(model)):
        return sum(device.free for device in library.devices() if device.gpu)
    # The weights are mapped from their file: their pages count as available, and will be needed.
    return max(0, _available() - int(lib.llama_model_size(model)))


def _available() -> int:
    """Return the bytes of main memory that this process can still have."""
    available = min(device.free for device in library.devices() if not device.gpu)
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return available
    return available if limit == "max" else min(available, max(0, int(limit) - int(used)))
