"""The options of both libraries and their pinned requirements, without pluggy: workers in any interpreter import them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from paragone import Options, option
from paragone.shared_options import CHAT_TEMPLATE, LORA_SCALE, PENALTY_LAST_N, SamplingOptions
from paragone.worker import Build, Environment

ExllamaCacheType: TypeAlias = Literal["fp16", "q8", "q6", "q4"]


PAGE = 256
"""Number of tokens in a page of the KV cache, in both libraries."""

CHUNK = 2048
"""Default for the largest number of prompt tokens processed in one batch."""

OUTPUTS = PAGE
"""Largest number of positions whose logits one computation returns. The libraries allocate VRAM for these logits
permanently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExLlamaLoadOptions(Options):
    """The load options that both libraries have. ExLlamaV3 has no other load options."""

    max_seq_len: int | None = option(
        None,
        "Context window in tokens, for prompt and answer, rounded up to a multiple of 256; by default the "
        "model's own, or as much of it as fits in the free VRAM.",
        minimum=256,
        fact="context",
    )
    cache_type: ExllamaCacheType = option(  # noqa: RUF009 (the default is immutable)
        "fp16", "Number type of the KV cache: q8 takes half the memory of fp16, q4 a quarter."
    )
    gpu_split: tuple[float, ...] = option(
        (), "GB of each GPU to use, such as 20,24; by default one GPU after the other is filled.", minimum=0
    )
    draft_model: str | None = option(
        None,
        "Folder of a small model with the same vocabulary that proposes tokens (speculative decoding).",
        metavar="path",
        outside="file",
    )
    draft_ngram: bool = option(
        False,
        "Propose the tokens that followed an earlier occurrence of the same n-gram (speculative decoding without "
        "a draft model).",
    )
    draft_tokens: int = option(4, "Number of tokens proposed at a time.", minimum=1, maximum=32)
    lora: str | None = option(
        None, "Folder of a LoRA adapter in PEFT's format to apply.", metavar="path", outside="file"
    )
    lora_scale: float = LORA_SCALE(1.0)
    chunk_size: int | None = option(
        None,
        "Number of prompt tokens processed in one batch, a multiple of 256; by default adapted to the speed of "
        "the GPU, so that a run stops within 100 ms.",
        minimum=256,
        maximum=16384,
    )
    chat_template: str | None = CHAT_TEMPLATE(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExLlamaV2LoadOptions(ExLlamaLoadOptions):
    paged: bool | None = option(
        None,
        "Paged attention: prompts with the same beginning share their KV cache; needs flash-attn. By default "
        "on if flash-attn is installed.",
    )
    rope_scale: float | None = option(
        None, "Linear scaling of RoPE, such as 2 for twice the context; by default the model's.", minimum=0.01
    )
    rope_alpha: float | None = option(
        None, "NTK scaling of RoPE, such as 2.6 for twice the context; by default the model's.", minimum=0.01
    )
    rope_yarn: float | None = option(
        None,
        "YaRN scaling of RoPE, such as 4 for four times the context, if max_seq_len exceeds the model's own; "
        "by default the model's.",
        minimum=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExLlamaSampling(SamplingOptions):
    penalty_last_n: int = PENALTY_LAST_N(64)


def _environment(library: str, *pythons: str) -> Environment:
    requirements = Path(__file__).with_name("requirements")
    return Environment(
        builds=(
            Build(
                cuda="13",
                driver=580,
                requirements=requirements / f"{library}-cuda13.txt",
                download=2_900_000_000,
                disk=5_500_000_000,
                toolkit="nvidia/cu13",
            ),
            Build(
                cuda="12",
                driver=525,
                requirements=requirements / f"{library}-cuda12.txt",
                download=4_100_000_000,
                disk=8_500_000_000,
            ),
        ),
        pythons=pythons,
        modules=("torch", library),
    )


EXLLAMAV2 = _environment("exllamav2", "3.11", "3.12")  # the newest Python for which numpy 1.26 has wheels
EXLLAMAV3 = _environment("exllamav3", "3.11", "3.12", "3.13")
