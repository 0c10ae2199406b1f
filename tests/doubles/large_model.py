"""Test doubles of large models: GGUF files with their headers and no weights, for memory estimates.

The dense one has the header of Llama-3.3-70B, the mixture of experts that of Qwen3-30B-A3B.
"""

import math
from pathlib import Path
from typing import TypeAlias

from tests.gguf_writer import Value, write_hollow

LAYERS, HIDDEN, WIDE, HEADS, KV_HEADS, VOCAB, TRAINED = 80, 8192, 28672, 64, 8, 128256, 131072
PARAMETERS = 70_553_706_496

_TYPES = {
    "F16": (1, 1, 1, 2),
    "Q8_0": (7, 8, 32, 34),
    "Q4_K_M": (15, 12, 256, 144),
    "Q2_K": (10, 10, 256, 84),
}
"""For each quantization: the number of the file's type and of the tensors' type, weights and bytes of a block."""


Entry: TypeAlias = tuple[str, tuple[int, ...], int, int]
"""A tensor's name, shape, type and bytes."""


def write_large_model(folder: Path, quantization: str, *, vocab: int = VOCAB) -> Path:
    """Write the file `Llama-70B-Instruct-QUANTIZATION.gguf`, in which all matrices have the same type."""
    file_type, kind, block, size = _TYPES[quantization]

    def matrix(name: str, *shape: int) -> Entry:
        return f"{name}.weight", shape, kind, math.prod(shape) // block * size

    def norm(name: str) -> Entry:
        return f"{name}.weight", (HIDDEN,), 0, 4 * HIDDEN

    keys = HIDDEN // HEADS * KV_HEADS
    tensors = [matrix("token_embd", HIDDEN, vocab), norm("output_norm"), matrix("output", HIDDEN, vocab)]
    for at in range(LAYERS):
        tensors += [
            norm(f"blk.{at}.attn_norm"),
            matrix(f"blk.{at}.attn_q", HIDDEN, HIDDEN),
            matrix(f"blk.{at}.attn_k", HIDDEN, keys),
            matrix(f"blk.{at}.attn_v", HIDDEN, keys),
            matrix(f"blk.{at}.attn_output", HIDDEN, HIDDEN),
            norm(f"blk.{at}.ffn_norm"),
            matrix(f"blk.{at}.ffn_gate", HIDDEN, WIDE),
            matrix(f"blk.{at}.ffn_up", HIDDEN, WIDE),
            matrix(f"blk.{at}.ffn_down", WIDE, HIDDEN),
        ]
    values: dict[str, Value] = {
        "general.architecture": "llama",
        "general.name": "Llama 70B Instruct",
        "general.file_type": file_type,
        "llama.block_count": LAYERS,
        "llama.context_length": TRAINED,
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": WIDE,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": HIDDEN // HEADS,
        "llama.rope.freq_base": 500000.0,
        "llama.vocab_size": vocab,
        **_vocabulary(vocab),
    }
    path = folder / f"Llama-70B-Instruct-{quantization}.gguf"
    write_hollow(path, values, tensors)
    return path


MOE_LAYERS, MOE_HIDDEN, EXPERTS, EXPERT_WIDE, MOE_HEADS, MOE_KV_HEADS, HEAD, MOE_VOCAB = (
    48, 2048, 128, 768, 32, 4, 128, 151936,
)  # fmt: skip


def write_large_moe(
    folder: Path,
    *,
    layers: int = MOE_LAYERS,
    hidden: int = MOE_HIDDEN,
    experts: int = EXPERTS,
    vocab: int = MOE_VOCAB,
) -> Path:
    """Write the file `Qwen-30B-A3B-Q8_0.gguf`, in which all matrices are Q8_0. A smaller one can be loaded."""
    file_type, kind, block, size = _TYPES["Q8_0"]

    def matrix(name: str, *shape: int) -> Entry:
        return f"{name}.weight", shape, kind, math.prod(shape) // block * size

    def floats(name: str, *shape: int) -> Entry:
        return f"{name}.weight", shape, 0, 4 * math.prod(shape)

    tensors = [
        matrix("token_embd", hidden, vocab),
        floats("output_norm", hidden),
        matrix("output", hidden, vocab),
    ]
    for at in range(layers):
        tensors += [
            floats(f"blk.{at}.attn_norm", hidden),
            matrix(f"blk.{at}.attn_q", hidden, MOE_HEADS * HEAD),
            matrix(f"blk.{at}.attn_k", hidden, MOE_KV_HEADS * HEAD),
            matrix(f"blk.{at}.attn_v", hidden, MOE_KV_HEADS * HEAD),
            matrix(f"blk.{at}.attn_output", MOE_HEADS * HEAD, hidden),
            floats(f"blk.{at}.attn_q_norm", HEAD),
            floats(f"blk.{at}.attn_k_norm", HEAD),
            floats(f"blk.{at}.ffn_norm", hidden),
            floats(f"blk.{at}.ffn_gate_inp", hidden, experts),
            matrix(f"blk.{at}.ffn_gate_exps", hidden, EXPERT_WIDE, experts),
            matrix(f"blk.{at}.ffn_up_exps", hidden, EXPERT_WIDE, experts),
            matrix(f"blk.{at}.ffn_down_exps", EXPERT_WIDE, hidden, experts),
        ]
    values: dict[str, Value] = {
        "general.architecture": "qwen3moe",
        "general.name": "Qwen 30B A3B",
        "general.file_type": file_type,
        "qwen3moe.block_count": layers,
        "qwen3moe.context_length": 40960,
        "qwen3moe.embedding_length": hidden,
        "qwen3moe.feed_forward_length": 6144,
        "qwen3moe.expert_feed_forward_length": EXPERT_WIDE,
        "qwen3moe.expert_count": experts,
        "qwen3moe.expert_used_count": 8,
        "qwen3moe.attention.head_count": MOE_HEADS,
        "qwen3moe.attention.head_count_kv": MOE_KV_HEADS,
        "qwen3moe.attention.key_length": HEAD,
        "qwen3moe.attention.value_length": HEAD,
        "qwen3moe.attention.layer_norm_rms_epsilon": 1e-6,
        "qwen3moe.rope.freq_base": 1000000.0,
        **_vocabulary(vocab),
    }
    path = folder / "Qwen-30B-A3B-Q8_0.gguf"
    write_hollow(path, values, tensors)
    return path


def _vocabulary(size: int) -> dict[str, Value]:
    control, bytes_ = ("<unk>", "<s>", "</s>"), [f"<0x{byte:02X}>" for byte in range(256)]
    words = [f"t{number}" for number in range(size - len(control) - len(bytes_))]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [*control, *bytes_, *words],
        "tokenizer.ggml.scores": [0.0] * size,
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * len(bytes_), *[1] * len(words)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
