"""A test double of a vision model's second file (`mmproj-….gguf`): image encoder and projector with random weights.

Real files have hundreds of megabytes and would have to be downloaded. The format, the shapes and the
computation are the real ones of LLaVA in llama.cpp (tools/mtmd: `clip.cpp`, `models/llava.cpp`). So Ollama and
other programs with llama.cpp accept the file beside a text model, divide an image into patches, and insert a
token for each patch into the prompt. The answer depends on the pixels, but has no meaning.
"""

import math
import random
from array import array

from tests.gguf_writer import Tensor, Value, gguf

_PATCH = 14  # pixels per side
_GRID = 4  # patches per side
_WIDTH = 64
_F32 = 0  # the type's number in ggml

IMAGE_TOKENS = _GRID**2
"""The number of tokens of an image in the prompt, whatever its size."""


def projector(text_width: int) -> bytes:
    """Return the GGUF file for a text model whose embeddings are `text_width` wide (SmolLM2-135M: 576).

    The weights are the same each time. Outputs have about the size of the inputs, so nothing overflows. LLaVA uses
    the output of the second-to-last layer; with the single layer here, that is the layer's input. Only the
    tensors of this layer that llama.cpp needs to load the file are written.
    """
    chance = random.Random(0)

    def weights(name: str, *shape: int, inputs: int) -> Tensor:
        deviation = inputs**-0.5
        numbers = array("f", (chance.gauss(0, deviation) for _ in range(math.prod(shape))))
        return name, shape, _F32, numbers.tobytes()

    def zeros(name: str, width: int) -> Tensor:
        return name, (width,), _F32, bytes(4 * width)

    tensors = [
        weights("v.patch_embd.weight", _PATCH, _PATCH, 3, _WIDTH, inputs=3 * _PATCH**2),
        weights("v.position_embd.weight", _WIDTH, IMAGE_TOKENS, inputs=_WIDTH),
        weights("v.blk.0.attn_out.weight", _WIDTH, _WIDTH, inputs=_WIDTH),
        weights("v.blk.0.ffn_up.weight", _WIDTH, _WIDTH, inputs=_WIDTH),
        weights("v.blk.0.ffn_down.weight", _WIDTH, _WIDTH, inputs=_WIDTH),
        weights("mm.0.weight", _WIDTH, _WIDTH, inputs=_WIDTH),
        zeros("mm.0.bias", _WIDTH),
        weights("mm.2.weight", _WIDTH, text_width, inputs=_WIDTH),
        zeros("mm.2.bias", text_width),
    ]
    values: dict[str, Value] = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.use_gelu": True,
        "clip.vision.image_size": _GRID * _PATCH,
        "clip.vision.patch_size": _PATCH,
        "clip.vision.embedding_length": _WIDTH,
        "clip.vision.feed_forward_length": _WIDTH,
        "clip.vision.block_count": 1,
        "clip.vision.projection_dim": text_width,
        "clip.vision.attention.head_count": 1,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    return gguf(values, tensors)
