"""The options of ExLlamaV2 and ExLlamaV3, declared without importing either.

Samplers are called as they are elsewhere in this program, with the same defaults, so that engines
can be compared; docs/exllama.md says where they differ all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from paragone import Options, option
from paragone.chat.sampling import SamplingOptions

__all__ = [
    "CacheType",
    "ExLlamaLoadOptions",
    "ExLlamaSampling",
    "ExLlamaV2LoadOptions",
    "ExLlamaV3LoadOptions",
]

CacheType: TypeAlias = Literal["fp16", "q8", "q6", "q4"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExLlamaLoadOptions(Options):
    """What takes effect when a model is loaded, by either library."""

    max_seq_len: int | None = option(
        None,
        "Context window in tokens, prompt and answer together, rounded up to a multiple of 256; by default "
        "the model's own, or as much of it as fits in the free VRAM.",
        minimum=256,
    )
    cache_type: CacheType = option(  # noqa: RUF009 (frozen)
        "fp16", "Number type of the KV cache: q8 takes half the memory of fp16, q4 a quarter."
    )
    gpu_split: tuple[float, ...] = option(
        (),
        "GB of each GPU to use, such as 20,24; by default one GPU after the other is filled.",
        minimum=0,
    )
    draft_model: str | None = option(
        None,
        "Folder of a small model with the same vocabulary that proposes tokens (speculative decoding).",
        metavar="path",
    )
    draft_ngram: bool = option(
        False,
        "Propose tokens by what has followed the latest ones before (speculative decoding without a model).",
    )
    draft_tokens: int = option(4, "How many tokens are proposed at a time.", minimum=1, maximum=32)
    lora: str | None = option(None, "Folder of a LoRA adapter in PEFT's format to apply.", metavar="path")
    lora_scale: float = option(1.0, "Strength of the LoRA adapter.")
    chunk_size: int | None = option(
        None,
        "Prompt tokens processed at once, a multiple of 256; by default as many as take a fraction of the "
        "time in which stopping must be heard.",
        minimum=256,
        maximum=16384,
    )
    chat_template: str | None = option(
        None,
        "Jinja chat template to use instead of the model's: the text itself, or @PATH of a file; "
        "an empty one has the text of the messages completed as it stands.",
        metavar="text or @path",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExLlamaV2LoadOptions(ExLlamaLoadOptions):
    """What takes effect when ExLlamaV2 loads a model."""

    paged: bool | None = option(
        None,
        "Paged attention: what was computed for one prompt is used again by others that begin alike; "
        "needs flash-attn. By default wherever flash-attn is.",
    )
    rope_scale: float | None = option(
        None, "Linear scaling of RoPE, such as 2 for twice the context; by default the model's.", minimum=0.01
    )
    rope_alpha: float | None = option(
        None, "NTK scaling of RoPE, such as 2.6 for twice the context; by default the model's.", minimum=0.01
    )
    rope_yarn: float | None = option(
        None,
        "YaRN scaling of RoPE, such as 4 for four times the context, where max_seq_len is beyond the model's own; "
        "by default the model's.",
        minimum=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExLlamaV3LoadOptions(ExLlamaLoadOptions):
    """What takes effect when ExLlamaV3 loads a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExLlamaSampling(SamplingOptions):
    """What each run may set anew."""

    penalty_last_n: int = option(
        64,
        "How many recent tokens of the answer and prompt the penalties look at.",
        minimum=0,
        maximum=1_000_000,
    )
