"""The longest context that fits in memory."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from paragone.gguf.header import Header
from paragone.gguf.options import CacheType
from paragone_llama_cpp.build import library
from paragone_llama_cpp.c_api.functions import Int64, Pointer, lib
from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions
from paragone_llama_cpp.model.loading import CACHE_TYPES

_SHARE = 4
"""A KV cache gets 1/_SHARE of the free memory.

The rest is for computation, and for other engines that load at the same time.
"""

_STEP = 256
_BLOCK = 32
"""How many numbers the quantized types of a KV cache store together."""


def longest_context(
    model: Pointer, options: LlamaCppLoadOptions, header: Header, before: int, *, loaded: bool = True
) -> int:
    """Return the model's own context, or as much of it as fits in a quarter of the free memory.

    `before` is the result of `available` before the model was loaded. `loaded` says whether the weights
    are loaded, which reduces the free memory of a GPU. The result is too small for models in which only
    some layers keep the whole context.
    """
    trained: int = lib.llama_model_n_ctx_train(model)
    token = _bytes_per_token(model, options, header)
    if not token:
        return trained  # a recurrent model: its state has a constant size
    fits = int(_free(model, options, before, loaded) / _SHARE / token) // _STEP * _STEP
    return min(trained, max(fits, 2 * _STEP))


def available(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes of main memory that this process can still allocate. The page cache counts as free."""
    free = min(device.free for device in library.devices() if not device.gpu)
    with contextlib.suppress(OSError):
        lines = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    with contextlib.suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                free = min(free, _left(groups, path, "memory.max", "memory.current", ""))
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
                free = min(free, _left(groups / "memory", path, *names))
    return max(0, free)


def _bytes_per_token(model: Pointer, options: LlamaCppLoadOptions, header: Header) -> float:
    """Return the bytes of one token in the KV cache and in the attention scores of a batch."""
    head = lib.llama_model_n_embd(model) // max(1, lib.llama_model_n_head(model))

    def half_of_head(name: str, kind: CacheType) -> float:
        value = header.values.get(f"{header.architecture}.attention.{name}_length", head)
        numbers = value if isinstance(value, int) else head
        return numbers * lib.ggml_row_size(CACHE_TYPES[kind], Int64(_BLOCK)) / _BLOCK

    whole_head = half_of_head("key", options.type_k) + half_of_head("value", options.type_v)
    cache = lib.llama_model_n_layer(model) * lib.llama_model_n_head_kv(model) * whole_head
    scores = lib.llama_model_n_head(model) * (options.n_batch or 0) * 4
    return float(cache + scores if cache and options.flash_attn == "off" else cache)


def _free(model: Pointer, options: LlamaCppLoadOptions, before: int, loaded: bool) -> int:
    """Return the free bytes of the memory that will hold the KV cache."""
    layers = options.n_gpu_layers
    if library.offloads() and (layers is None or not 0 <= layers < lib.llama_model_n_layer(model)):
        free = sum(device.free for device in library.devices() if device.gpu)
        return free if loaded else max(0, free - int(lib.llama_model_size(model)))
    # Memory-mapped weights take memory when they are first used: `before` does not include them yet.
    return max(0, before - int(lib.llama_model_size(model)))


def _left(groups: Path, path: str, limit: str, usage: str, prefix: str) -> int:
    """Return the free bytes within the limits of a control group and its parents."""
    left = sys.maxsize
    own = groups / path.lstrip("/")
    # In a container, `path` can be a path of the host, although the container sees only the root of `groups`.
    for group in (own, *own.parents):
        if not group.is_relative_to(groups):
            break
        with contextlib.suppress(OSError):
            most = (group / limit).read_text().strip()
            if most == "max":
                continue
            statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            files = sum(int(statistics.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
            left = min(left, int(most) - int((group / usage).read_text()) + files)
    return left
