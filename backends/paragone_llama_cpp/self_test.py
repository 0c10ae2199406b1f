"""Computes tokens of a tiny model whose logits are known, to check whether this build of llama.cpp works on this machine.

The embedding of token i is row i of a Hadamard matrix, the output's row for token i + 1 is the same, and the only layer
adds zeros. The rows have the elements 1 and -1 and are orthogonal, so that after token i the logit of token i + 1 is the
number of dimensions, and the logit of every other token is 0. The matrices are quantized to Q8_0, which the kernels of all
instruction sets support, and which represents their elements exactly, except for the rounding of a scale. The
prompt is long enough for the kernels for batches, which can fail although the kernels for single tokens work.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from paragone import EngineError
from paragone_llama_cpp import c_api, library, llama_cpp_options
from paragone_llama_cpp.context import Context
from paragone_llama_cpp.library import np
from paragone_llama_cpp.model import load_model, make_context, with_defaults

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix: TypeAlias = NDArray[np.float64]


_SIZE = 64
"""Number of dimensions, and of tokens in the vocabulary."""
_PROMPT, _ANSWER = 32, 4
"""Number of tokens in the prompt, and number of tokens computed one by one after the prompt."""
_TOLERANCE = 0.5
"""Largest allowed error of a logit. The right logits are 0 and 64; kernels in half precision err far less."""
_BLOCK = 32
"""Number of values in a block of Q8_0, which has a scale in half precision and a signed byte for each value."""
_F32, _Q8_0 = 0, 8  # numbers of ggml_type


def check_computation() -> None:
    """Compute a few tokens with the model, which is written to a temporary file. Raises EngineError if the result is
    wrong, and OSError if the file cannot be written. A broken build may also end the process."""
    library.load()
    options = with_defaults(llama_cpp_options.LlamaCppLoadOptions(), on_gpu=library.supports_gpu_offload())
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(tiny_model())
        file.flush()
        model, _ = load_model(Path(file.name), options, lambda _: None, False)
        # One thread: on a busy machine, several threads would wait for each other for seconds.
        pointer, _ = make_context(model, options, n_ctx=_SIZE, threads=1, owner="the self-test")
        context = Context(pointer, _SIZE)
        try:
            error = _largest_error(context)
        finally:
            context.close()
            c_api.lib.llama_model_free(model)
    if not error < _TOLERANCE:  # the comparison is also false for NaN
        raise EngineError(
            f"llama.cpp computes wrongly on this machine: in a self-test, a logit is off by {error:.2g}.",
            hint="Install another build of llama.cpp, or compile it on this machine.",
        )


def _largest_error(context: Context) -> float:
    context.feed(list(range(_PROMPT)), outputs=_PROMPT)
    rows = [*context.all_logits(_PROMPT).copy()]
    for token in range(_PROMPT, _PROMPT + _ANSWER):
        context.decode(token)
        rows.append(context.logits().copy())
    expected = _SIZE * np.eye(_SIZE)[1 : len(rows) + 1]
    return float(np.abs(np.array(rows) - expected).max())


def tiny_model() -> bytes:
    """Return the content of a GGUF file with the tiny model, about 40 KB."""
    hadamard = np.ones((1, 1))
    while len(hadamard) < _SIZE:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    zeros, ones = np.zeros((_SIZE, _SIZE)), np.ones(_SIZE)
    tensors = {
        "token_embd": hadamard,
        "output": np.roll(hadamard, 1, axis=0),
        "output_norm": ones,
        "blk.0.attn_norm": ones,
        "blk.0.attn_q": hadamard,
        "blk.0.attn_k": hadamard,
        "blk.0.attn_v": hadamard,
        "blk.0.attn_output": zeros,
        "blk.0.ffn_norm": ones,
        "blk.0.ffn_gate": hadamard,
        "blk.0.ffn_up": hadamard,
        "blk.0.ffn_down": zeros,
    }
    values = {
        "general.architecture": "llama",
        "general.file_type": 7,  # Q8_0
        "tokenizer.ggml.model": "no_vocab",
        "llama.vocab_size": _SIZE,
        "llama.context_length": _SIZE,
        "llama.embedding_length": _SIZE,
        "llama.feed_forward_length": _SIZE,
        "llama.block_count": 1,
        "llama.attention.head_count": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-6,
        "llama.rope.dimension_count": _SIZE,
    }
    return _gguf(values, tensors)


def _gguf(values: Mapping[str, object], tensors: Mapping[str, Matrix]) -> bytes:
    """Return a file in version 3 of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md."""
    header = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(values))]
    for key, value in values.items():
        header += [_text(key), _value(value)]
    weights = b""
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        kind = _F32 if len(shape) == 1 else _Q8_0
        header += [_text(f"{name}.weight"), struct.pack(f"<I{len(shape)}Q", len(shape), *shape)]
        header.append(struct.pack("<IQ", kind, len(weights)))
        if kind == _F32:
            weights += tensor.astype("<f4").tobytes()
        else:  # blocks of ones, zeros and minus ones
            blocks = np.zeros(tensor.size // _BLOCK, np.dtype([("scale", "<f2"), ("values", "i1", _BLOCK)]))
            blocks["scale"], blocks["values"] = 1 / 127, 127 * tensor.reshape(-1, _BLOCK)
            weights += blocks.tobytes()
        weights += bytes(-len(weights) % 32)
    head = b"".join(header)
    return head + bytes(-len(head) % 32) + weights


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(value: object) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<II", 4, value)
