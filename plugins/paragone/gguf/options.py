"""The load options that all programs with llama.cpp have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

from paragone.errors import InputError
from paragone.options import Options, option
from paragone.shared_options import CHAT_TEMPLATE, LORA_SCALE, SharedOption

__all__ = [
    "N_BATCH",
    "N_CTX",
    "N_GPU_LAYERS",
    "CacheType",
    "GgufLoadOptions",
    "check_load_options",
    "with_cpu_defaults",
]

CacheType: TypeAlias = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

# A subclass declares these three options again, with a note on the default.
N_CTX = SharedOption(
    "Context window in tokens, for prompt and answer.", minimum=16, maximum=1 << 24, fact="context"
)
N_GPU_LAYERS = SharedOption(
    "Number of layers on the GPU: 0 for none, -1 for all.", minimum=-1, maximum=10_000
)
N_BATCH = SharedOption(
    "Number of prompt tokens processed at once. Fewer tokens give finer progress and, on a GPU, a quicker stop.",
    minimum=1,
    maximum=16384,
    fact="batch size",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufLoadOptions(Options):
    """Options that take effect when a model is loaded. A subclass adds the options of one program."""

    n_ctx: int | None = N_CTX(None)
    n_gpu_layers: int | None = N_GPU_LAYERS(None)
    n_threads: int | None = option(
        None,
        "CPU threads for computation; by default this engine's share of the cores, so that engines that "
        "run at the same time do not slow each other down.",
        minimum=1,
        maximum=1024,
        fact="threads",
    )
    n_batch: int | None = N_BATCH(None)
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
        "Proportions of the model on each GPU, such as 3,1; by default in proportion to the GPUs' free memory.",
        minimum=0,
    )
    main_gpu: int | None = option(
        None,
        "Number of the GPU that holds the whole model; by default the model is spread over all GPUs.",
        minimum=0,
        maximum=1023,
    )
    lora: str | None = option(
        None, "Path of a LoRA adapter in GGUF to apply to the model.", metavar="path", outside="file"
    )
    lora_scale: float = LORA_SCALE(1.0)
    chat_template: str | None = CHAT_TEMPLATE(None)
    rpc_servers: tuple[str, ...] = option(
        (), "Addresses (HOST:PORT) of llama.cpp RPC servers to use as additional devices."
    )


OptionsT = TypeVar("OptionsT", bound=GgufLoadOptions)

_FLOATS = ("f32", "f16", "bf16")

_BATCH_ON_CPU = 128
"""Number of prompt tokens in a batch on the CPU, where a program can stop only between two batches."""


def check_load_options(options: GgufLoadOptions) -> None:
    """Check the options that exclude each other. Raises InputError."""
    if options.main_gpu is not None and options.tensor_split:
        raise InputError("Only one of the options 'main_gpu' and 'tensor_split' can be set.")
    if options.flash_attn == "off" and options.type_v not in _FLOATS:
        raise InputError(
            f"The option 'type_v' cannot be {options.type_v} without flash attention.",
            hint="Set flash_attn to auto, or type_v to f16.",
        )


def with_cpu_defaults(options: OptionsT) -> OptionsT:
    """Return the options, with the defaults for a model on the CPU instead of unset options."""
    flash_attn = options.flash_attn
    if flash_attn == "auto" and options.type_v in _FLOATS:
        # llama.cpp would turn flash attention on. Measured on a CPU with 6,000 tokens of context: 22 ms per token
        # without flash attention, 30 ms with it. With 500 tokens there is no difference.
        flash_attn = "off"
    return replace(options, flash_attn=flash_attn, n_batch=options.n_batch or _BATCH_ON_CPU)
