"""The options of llama-servers that paragone starts. Common ones have the names of the backend `llama_cpp`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paragone import Options, option

__all__ = ["LlamaServerLoadOptions"]

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaServerLoadOptions(Options):
    """Options that take effect when a model is loaded. What is not set is left to llama-server."""

    program: str | None = option(
        None,
        "The llama-server to start: a path, or a name on PATH; by default llama-server on PATH, else the one in the "
        "Python package xllamacpp.",
        metavar="path",
    )
    n_ctx: int | None = option(
        None,
        "Context window in tokens, for prompt and answer; by default the model's own, or what fits on the GPU.",
        minimum=16,
        maximum=1 << 24,
        fact="context",
    )
    n_gpu_layers: int | None = option(
        None,
        "Number of layers on the GPU: 0 for none, -1 for all; by default as many as fit.",
        minimum=-1,
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
        "Number of prompt tokens processed at once. Fewer give finer progress and a quicker stop. By default 128, or "
        "llama-server's own number with layers on a GPU.",
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
    lora: str | None = option(None, "Path of a LoRA adapter in GGUF to apply to the model.", metavar="path")
    lora_scale: float = option(1.0, "Strength of the LoRA adapter.")
    mmproj: str | None = option(
        None, "Path of the model's image encoder in GGUF (mmproj), so that it sees images.", metavar="path"
    )
    draft_model: str | None = option(
        None,
        "Path of a small model in GGUF with the same vocabulary, which proposes tokens that the model checks: "
        "faster answers that differ by rounding only.",
        metavar="path",
    )
    draft_max: int | None = option(
        None, "Largest number of tokens that the draft model proposes at once.", minimum=1, maximum=1024
    )
    draft_min: int | None = option(
        None, "Smallest number of proposed tokens that are worth checking.", minimum=0, maximum=1024
    )
    draft_p_min: float | None = option(
        None, "Probability below which the draft model proposes no more tokens.", minimum=0, maximum=1
    )
    draft_gpu_layers: int | None = option(
        None,
        "Number of layers of the draft model on the GPU: 0 for none, -1 for all; by default as many as fit.",
        minimum=-1,
    )
    chat_template: str | None = option(
        None,
        "Jinja chat template to use instead of the model's: the text itself, or @PATH of a file; "
        "with an empty one the model continues the plain text of the messages.",
        metavar="text or @path",
    )
    n_parallel: int = option(
        1,
        "Number of answers that one server computes at once, each with a context of its own (slots). Engines with "
        "the same model and load options share a server, up to this number.",
        minimum=1,
        maximum=256,
    )
    rpc_servers: tuple[str, ...] = option(
        (), "Addresses (HOST:PORT) of llama.cpp RPC servers to use as additional devices."
    )
    port: int | None = option(
        None,
        "Port on 127.0.0.1 for the server; by default it listens on a private Unix socket.",
        minimum=1,
        maximum=65535,
    )
    arguments: tuple[str, ...] = option(
        (),
        "Other arguments for llama-server, such as --no-kv-offload; its --help lists them.",
        metavar="list of arguments",
    )
