"""A test double of a 70B model: a GGUF file with the header of Llama-3.3-70B and no weights, for memory estimates."""

import math
from pathlib import Path

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


def write_large_model(folder: Path, quantization: str) -> Path:
    """Write the file `Llama-70B-Instruct-QUANTIZATION.gguf`, in which all matrices have the same type."""
    file_type, kind, block, size = _TYPES[quantization]

    def matrix(name: str, *shape: int) -> tuple[str, tuple[int, ...], int, int]:
        return f"{name}.weight", shape, kind, math.prod(shape) // block * size

    def norm(name: str) -> tuple[str, tuple[int, ...], int, int]:
        return f"{name}.weight", (HIDDEN,), 0, 4 * HIDDEN

    keys = HIDDEN // HEADS * KV_HEADS
    tensors = [matrix("token_embd", HIDDEN, VOCAB), norm("output_norm"), matrix("output", HIDDEN, VOCAB)]
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
    control, bytes_ = ("<unk>", "<s>", "</s>"), [f"<0x{byte:02X}>" for byte in range(256)]
    words = [f"t{number}" for number in range(VOCAB - len(control) - len(bytes_))]
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
        "llama.vocab_size": VOCAB,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [*control, *bytes_, *words],
        "tokenizer.ggml.scores": [0.0] * VOCAB,
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * len(bytes_), *[1] * len(words)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    path = folder / f"Llama-70B-Instruct-{quantization}.gguf"
    write_hollow(path, values, tensors)
    return path
