"""Writes a tiny Llama with random weights, with all files of Hugging Face's layout.

The tokenizer is real: the tokens 0 to 255 are the bytes in byte-level BPE, followed by the special tokens.
"""

import functools
import json
import os
import random
import struct
from typing import NamedTuple

SPECIAL = ("<|bos|>", "<|im_start|>", "<|im_end|>", "<|end_of_text|>", "[THINK]", "[/THINK]")
WORDS = (" north", " east", " south", " west")
"""Tokens of several letters; the conformance suite builds its long prompts from these words."""

END = 256 + SPECIAL.index("<|im_end|>")
BOS = 256
VOCAB = 320


class Shape(NamedTuple):
    """The sizes of a Llama."""

    hidden: int
    intermediate: int
    layers: int
    heads: int


TINY = Shape(256, 512, 2, 4)
REAL = Shape(2048, 5632, 16, 16)
"""The size of a real model: 1.5 GB in 16 bits."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@functools.cache
def byte_characters():
    """Return the character that byte-level BPE uses for each byte, as in GPT-2."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte if byte in shown else 256 + hidden.index(byte)) for byte in range(256)]


def tokenizer():
    added = [
        {
            "id": 256 + place,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": text in SPECIAL,
        }
        for place, text in enumerate((*SPECIAL, *WORDS))
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {character: byte for byte, character in enumerate(byte_characters())},
            "merges": [],
        },
    }


def weights(shape):
    """Return the shapes of the tensors of a model."""
    hidden, intermediate = shape.hidden, shape.intermediate
    shapes = {
        "model.embed_tokens.weight": (VOCAB, hidden),
        "lm_head.weight": (VOCAB, hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        shapes[f"{name}.input_layernorm.weight"] = (hidden,)
        shapes[f"{name}.post_attention_layernorm.weight"] = (hidden,)
        for part in "qkvo":
            shapes[f"{name}.self_attn.{part}_proj.weight"] = (hidden, hidden)
        shapes[f"{name}.mlp.gate_proj.weight"] = (intermediate, hidden)
        shapes[f"{name}.mlp.up_proj.weight"] = (intermediate, hidden)
        shapes[f"{name}.mlp.down_proj.weight"] = (hidden, intermediate)
    return shapes


_SMALL = bytes(byte & 0x83 | 0x24 for byte in range(256))
"""Upper bytes of 16-bit floats of either sign, with values from 1/64 to 1/32."""


def halves(shape, source):
    """Return small random 16-bit floats; ones for the norms."""
    count = 1
    for size in shape:
        count *= size
    if len(shape) == 1:
        return struct.pack("<e", 1.0) * count
    data = bytearray(source.randbytes(2 * count))
    data[1::2] = data[1::2].translate(_SMALL)
    return bytes(data)


CONSTANT, NEVER = struct.pack("<e", 0.25), struct.pack("<e", -200.0)


def printable(name, shape, data):
    """Return a tensor, changed so that the model generates only letters, and never ends its answer.

    The first element of the hidden state is made constant for all tokens and layers. The first column of the
    head then works as a bias: it excludes all other tokens.
    """
    data, row = bytearray(data), 2 * shape[-1]
    if name.endswith(("o_proj.weight", "down_proj.weight")):
        data[:row] = bytes(row)
    elif name in ("model.embed_tokens.weight", "lm_head.weight"):
        for token in range(shape[0]):
            said = 32 <= token < 127 or 256 + len(SPECIAL) <= token < 256 + len(SPECIAL) + len(WORDS)
            first = CONSTANT if name != "lm_head.weight" else bytes(2) if said else NEVER
            data[token * row : token * row + 2] = first
    return bytes(data)


def write_safetensors(path, tensors):
    """Write tensors, given as name: (type, shape, bytes). A number in place of the bytes is a number of zeros."""
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        end = at + (data if isinstance(data, int) else len(data))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            if isinstance(data, int):
                file.seek(data, os.SEEK_CUR)
            else:
                file.write(data)
        file.truncate()


def write_model(
    folder, *, shape=TINY, real=False, template=TEMPLATE, tensors=None, tokenizer_changes=(), **config
):
    """Write a model's folder, with `real` weights, or with a few numbers that are not loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.hidden // shape.heads,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "vocab_size": VOCAB,
        "bos_token_id": BOS,
        "eos_token_id": END,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
    }
    (folder / "config.json").write_text(json.dumps(settings | config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [END, END + 1]}))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer() | dict(tokenizer_changes)))
    spoken = {"bos_token": "<|bos|>", "eos_token": "<|im_end|>", "add_bos_token": False}
    if template is not None:
        spoken["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(spoken))
    if tensors is None:
        source = random.Random(1)
        few = {"model.embed_tokens.weight": (4, 4), "lm_head.weight": (4, 4)}
        sizes = weights(shape) if real else few
        tensors = {
            name: ("F16", size, printable(name, size, halves(size, source)) if real else halves(size, source))
            for name, size in sizes.items()
        }
    write_safetensors(folder / "model.safetensors", tensors)
    return folder
