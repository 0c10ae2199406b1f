"""Estimate the VRAM that ExLlamaV2 and ExLlamaV3 need for computation, from a model's config.json."""

from __future__ import annotations

from paragone_exllama.exllama_options import CacheType, ExLlamaLoadOptions
from paragone_exllama.library import CHUNK, OUTPUTS
from paragone_exllama.model_folder.folders import ModelFolder

__all__ = ["v2_buffers", "v3_buffers"]

_MOST_DEQUANTIZED = 512 << 20
"""Largest number of weights that ExLlamaV2 converts to 16 bits at once: `max_dq_size` of its config."""

_SLICE = 32768
"""Largest number of columns that ExLlamaV3 converts to 16 bits at once: `MAX_RECONSTRUCT_SLICE_N`."""


def v2_buffers(folder: ModelFolder, options: ExLlamaLoadOptions, cache_type: CacheType, context: int) -> int:
    """Return the bytes that ExLlamaV2 allocates on each GPU for one model.

    This includes the scratch space (`scratch_space_fixed`: the maximum of attention, MLP and head), the RoPE
    tables, one layer of the cache in 16 bits if the cache is quantized, and the logits. A mixture of experts
    counts as an MLP of its config's `intermediate_size`. Temporary memory of the attention is not included.
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

    It allocates them during computation. This is the larger of two amounts: that of the MLP, with the hidden
    state in 32 bits and two intermediate states in 16 bits for a chunk of the prompt, and that of the head,
    with the logits in 16 bits. Both include the weights of one matrix in 16 bits if they are quantized.
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
