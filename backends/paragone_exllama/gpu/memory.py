"""VRAM: how much a model and its computation need, how much is free, and the longest context that fits.

The needs of ExLlamaV2 and ExLlamaV3 are estimated from a model's config.json.
"""

from __future__ import annotations

from collections.abc import Sequence

from paragone_exllama.exllama_options import ExllamaCacheType, ExLlamaLoadOptions
from paragone_exllama.gpu.nvidia import visible_gpus
from paragone_exllama.library import CHUNK, OUTPUTS, PAGE
from paragone_exllama.model_folder.folders import ModelFolder

_BITS: dict[ExllamaCacheType, float] = {"fp16": 16, "q8": 8.5, "q6": 6.5, "q4": 4.5}
"""Bits per number in the cache. The quantized types have a 16-bit scale for each 32 numbers."""

RESERVED = 1 << 30
"""Bytes of a GPU reserved for the CUDA context and for computation."""

_SHORTEST = 2048
_UNKNOWN = 8192
"""Largest default context in tokens if the amount of VRAM is unknown."""


def cache_bytes(folder: ModelFolder, cache_type: ExllamaCacheType, tokens: int) -> int:
    """Return the size of a KV cache in bytes; 0 if unknown."""
    return int(folder.cache_numbers * _BITS[cache_type] / 8 * tokens)


def free_vram(split: Sequence[float] = ()) -> tuple[int, ...]:
    """Return the free bytes of each GPU that may be used; empty if the driver does not report free memory."""
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
    left = sum(free) - RESERVED * len(free) - model.size - (draft.size if draft else 0)
    fitting = left // each // PAGE * PAGE
    return min(_round_up(trained), max(fitting, _round_up(min(trained, _SHORTEST))))


def _round_up(tokens: int) -> int:
    return -(-tokens // PAGE) * PAGE


_MOST_DEQUANTIZED = 512 << 20
"""Largest number of weights that ExLlamaV2 converts to 16 bits at once: `max_dq_size` of its config."""

_SLICE = 32768
"""Largest number of columns that ExLlamaV3 converts to 16 bits at once: `MAX_RECONSTRUCT_SLICE_N`."""


def v2_buffers(
    folder: ModelFolder, options: ExLlamaLoadOptions, cache_type: ExllamaCacheType, context: int
) -> int:
    """Return the bytes that ExLlamaV2 allocates on each GPU for one model.

    The bytes include the scratch space (`scratch_space_fixed`: the maximum of attention, MLP and head), the RoPE
    tables, one layer of the cache in 16 bits if the cache is quantized, and the logits. A mixture of experts
    counts as one MLP with the config's `intermediate_size`. Temporary memory of the attention is not included.
    """
    hidden, wide, queries, dimension = _widths(folder)
    chunk = min(options.chunk_size or CHUNK, context)
    vocab = -(-(folder.number("vocab_size") or 0) // 32) * 32

    def dequantized(rows: int, columns: int) -> int:
        return 2 * min(rows * columns, _MOST_DEQUANTIZED)

    mlp = 2 * chunk * hidden + 4 * chunk * max(hidden, wide) + dequantized(hidden, wide) + 3 * 128
    attention = 2 * chunk * max(hidden, queries) + dequantized(hidden, queries) + 128
    scratch = max(mlp, attention, dequantized(hidden, vocab))
    rope = 4 * dimension * context
    unpacked = 0 if cache_type == "fp16" else 4 * context * folder.cache_width
    return scratch + rope + unpacked + 2 * OUTPUTS * vocab


def v3_buffers(folder: ModelFolder, options: ExLlamaLoadOptions, context: int) -> int:
    """Return a lower bound for the bytes that ExLlamaV3 needs at once on each GPU.

    ExLlamaV3 allocates these bytes during computation. The bound is what the MLP or the head takes, whichever
    is more. The MLP takes the hidden state in 32 bits and two intermediate states in 16 bits, for a chunk of the
    prompt; the head takes the logits in 16 bits. With quantized weights, MLP and head also take one matrix in 16 bits each.
    """
    hidden, wide, _, _ = _widths(folder)
    chunk = min(options.chunk_size or CHUNK, context)
    vocab = -(-(folder.number("vocab_size") or 0) // 128) * 128
    quantized = folder.stored.format != "plain"

    def reconstructed(columns: int) -> int:
        return 2 * hidden * min(columns, _SLICE) if quantized else 0

    mlp = chunk * (4 * hidden + 2 * 2 * wide) + reconstructed(wide)
    head = 2 * OUTPUTS * vocab + reconstructed(vocab)
    return max(mlp, head)


def _widths(folder: ModelFolder) -> tuple[int, int, int, int]:
    """Return the widths of hidden state, MLP, queries and one attention head; 0 if unknown."""
    heads = folder.number("num_attention_heads", "n_heads", "n_head") or 0
    dimension = folder.number("head_dim") or (folder.hidden // heads if heads else 0)
    wide = folder.number("intermediate_size", "ffn_dim", "n_inner") or 0
    return folder.hidden, wide, heads * dimension, dimension
