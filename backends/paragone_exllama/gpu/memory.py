"""VRAM: how much a model needs, how much is free, and the longest context that fits."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import EngineError
from paragone.wording import size_text
from paragone_exllama.exllama_options import CacheType, ExLlamaLoadOptions
from paragone_exllama.gpu.nvidia import visible_gpus
from paragone_exllama.library import PAGE
from paragone_exllama.model_folder.folders import ModelFolder

__all__ = ["cache_bytes", "choose_context", "free_vram", "out_of_vram"]

_BITS: dict[CacheType, float] = {"fp16": 16, "q8": 8.5, "q6": 6.5, "q4": 4.5}
"""Bits per number in the cache. The quantized types have a 16-bit scale for each 32 numbers."""

_RESERVED = 1 << 30
"""Bytes of a GPU reserved for the CUDA context and for computation."""

_SHORTEST = 2048
_UNKNOWN = 8192
"""Largest default context in tokens if the amount of VRAM is unknown."""


def cache_bytes(folder: ModelFolder, cache_type: CacheType, tokens: int) -> int:
    """Return the size of a KV cache in bytes; 0 if unknown."""
    return int(folder.cache_numbers * _BITS[cache_type] / 8 * tokens)


def free_vram(split: Sequence[float] = ()) -> tuple[int, ...]:
    """Return the free bytes of each GPU that may be used; empty if the driver does not report them."""
    gpus = visible_gpus()
    if not all(gpu.total for gpu in gpus):
        return ()
    free = tuple(gpu.free for gpu in gpus)
    if not split:
        return free
    return tuple(min(bytes_, int(limit * 2**30)) for bytes_, limit in zip(free, split, strict=False))


def choose_context(model: ModelFolder, draft: ModelFolder | None, options: ExLlamaLoadOptions) -> int:
    """Return the size of the cache in tokens, a multiple of PAGE."""
    trained = model.context or _UNKNOWN
    if options.max_seq_len is not None:
        return _round_up(options.max_seq_len)
    free = free_vram(options.gpu_split)
    each = cache_bytes(model, options.cache_type, 1) + (cache_bytes(draft, "fp16", 1) if draft else 0)
    if not free or not each:
        return _round_up(min(trained, _UNKNOWN))
    left = sum(free) - _RESERVED * len(free) - model.size - (draft.size if draft else 0)
    fitting = left // each // PAGE * PAGE
    return min(_round_up(trained), max(fitting, _round_up(min(trained, _SHORTEST))))


def out_of_vram(
    model: ModelFolder,
    draft: ModelFolder | None,
    options: ExLlamaLoadOptions,
    context: int,
    free: Sequence[int],
) -> EngineError:
    """Return the error for a model that did not fit. `free` are the free bytes before loading."""
    cache = cache_bytes(model, options.cache_type, context)
    drafts = draft.size + cache_bytes(draft, "fp16", context) if draft else 0
    parts = [
        f"{size_text(model.size)} for its weights",
        f"{size_text(cache)} for a KV cache of {context:,} tokens",
    ]
    if drafts:
        parts.append(f"{size_text(drafts)} for the draft model")
    needed = model.size + cache + drafts + _RESERVED
    there = " and ".join(size_text(bytes_) for bytes_ in free)
    found = f", and {there} {'was' if len(free) == 1 else 'were'} free" if free else ""
    return EngineError(
        f"{model.name} does not fit in the VRAM: it needs about {size_text(needed)} ({', '.join(parts)}, and "
        f"{size_text(_RESERVED)} for computation){found}.",
        hint="Lower max_seq_len, set cache_type to q8, q6 or q4, or use a model with fewer bits per weight.",
    )


def _round_up(tokens: int) -> int:
    return -(-tokens // PAGE) * PAGE
