"""The options of llama.cpp engines. This module does not import the library.

The sampling defaults are llama.cpp's own. Options for long texts (a template, a grammar, a schema)
accept `@PATH` for the contents of a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paragone import Options, option
from paragone.chat.sampling import SamplingOptions

__all__ = ["CacheType", "LlamaCppLoadOptions", "LlamaCppSampling"]

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppLoadOptions(Options):
    """Options that take effect when a model is loaded."""

    n_ctx: int | None = option(
        None,
        "Context window in tokens, for prompt and answer; by default the model's own, or as much of it "
        "as fits in a quarter of the free memory.",
        minimum=16,
        maximum=1 << 24,
        fact="context",
    )
    n_gpu_layers: int | None = option(
        None,
        "Number of layers on the GPU: 0 for none, -1 for all; by default all if the library can use a GPU.",
        minimum=-1,
    )
    n_cpu_moe: int = option(
        0,
        "Number of first layers whose experts stay in main memory and are computed on the CPU, for mixtures of "
        "experts that do not fit on the GPU.",
        minimum=0,
        maximum=10_000,
    )
    n_threads: int | None = option(
        None,
        "CPU threads for computation; by default this engine's share of the cores, so that engines that "
        "run at the same time do not slow each other down.",
        minimum=1,
        maximum=1024,
        fact="threads",
    )
    n_batch: int | None = option(
        None,
        "Number of prompt tokens processed at once. Fewer give finer progress and, on a GPU, a quicker "
        "stop. By default 128, or 512 with layers on a GPU.",
        minimum=1,
        maximum=16384,
        fact="batch size",
    )
    flash_attn: Literal["auto", "on", "off"] = option(
        "auto",
        "Flash attention: takes less memory for long contexts; required for a quantized V cache. By default "
        "on if the GPU supports it, and off on the CPU, which is faster without it.",
        fact="flash attention",
    )
    type_k: CacheType = option(  # noqa: RUF009 (frozen)
        "f16", "Number type of the K half of the KV cache; q8_0 halves its memory.", fact="K cache"
    )
    type_v: CacheType = option(  # noqa: RUF009 (frozen)
        "f16", "Number type of the V half of the KV cache; q8_0 halves its memory.", fact="V cache"
    )
    tensor_split: tuple[float, ...] = option(
        (),
        "Proportions of the model on each GPU, such as 3,1; by default according to their free memory.",
        minimum=0,
    )
    main_gpu: int | None = option(
        None, "Number of the one GPU to hold the whole model; by default it is spread over all.", minimum=0
    )
    rope_scaling: Literal["none", "linear", "yarn", "longrope"] | None = option(
        None, "Scaling of positions beyond the trained context; by default the model's."
    )
    rope_freq_base: float | None = option(None, "Base frequency of RoPE; by default the model's.", minimum=0)
    rope_freq_scale: float | None = option(
        None, "Frequency scale of RoPE, such as 0.5 for twice the context; by default the model's.", minimum=0
    )
    yarn_orig_ctx: int | None = option(
        None, "Context that the model was trained for before YaRN scaling; by default the model's.", minimum=0
    )
    lora: str | None = option(None, "Path of a LoRA adapter in GGUF to apply to the model.", metavar="path")
    lora_scale: float = option(1.0, "Strength of the LoRA adapter.")
    chat_template: str | None = option(
        None,
        "Jinja chat template to use instead of the model's: the text itself, or @PATH of a file; "
        "with an empty one the model continues the plain text of the messages.",
        metavar="text or @path",
    )
    build: Literal["native", "prebuilt"] | None = option(
        None,
        "Build of llama.cpp: native (llama-cpp-python, compiled for this machine) or prebuilt (xllamacpp, for any "
        "machine); by default native if it is installed. Texts of two builds can differ.",
    )
    rpc_servers: tuple[str, ...] = option(
        (), "Addresses (HOST:PORT) of llama.cpp RPC servers to use as additional devices."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppSampling(SamplingOptions):
    """Options that each run can set."""

    penalty_last_n: int = option(
        64,
        "Number of the answer's latest tokens that the penalties apply to.",
        minimum=0,
        maximum=1_000_000,
    )
    ignore_eos: bool = option(
        False,
        "Go on after the model's end-of-text token: only max_tokens, a stop sequence or the end of the context "
        "ends the answer.",
    )
    grammar: str | None = option(
        None,
        "GBNF grammar that the answer must follow: the text itself, or @PATH of a file.",
        metavar="text or @path",
    )
    json_schema: str | None = option(
        None,
        "JSON Schema that the answer must follow: the JSON itself, or @PATH of a file. Objects may have properties "
        "that it does not name, unless it sets additionalProperties to false.",
        metavar="text or @path",
    )
