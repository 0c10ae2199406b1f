"""The options of the llama-servers that paragone starts, and their values on this machine.

Options with the same meaning have the same names as in the backend `llama_cpp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paragone import Capabilities, InputError, option
from paragone.gguf.options import N_BATCH, N_CTX, N_GPU_LAYERS, GgufLoadOptions, with_cpu_defaults

CAPABILITIES = Capabilities(
    logprobs=True,
    plain_text=True,
    token_ids=True,
    tokenize=True,
    top_tokens=True,
    seed=True,
    continues=True,
    local=True,
)
"""What every llama-server can do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaServerLoadOptions(GgufLoadOptions):
    """Options that take effect when a model is loaded. llama-server chooses the values of options that are not set."""

    program: str | None = option(
        None,
        "The llama-server to start: a path, or a name on PATH; by default llama-server on PATH, else the one in the "
        "Python package xllamacpp.",
        metavar="path",
        outside="program",
    )
    n_ctx: int | None = N_CTX(
        None, "By default the model's own context, or as much of it as fits on the GPU."
    )
    n_gpu_layers: int | None = N_GPU_LAYERS(None, "By default as many layers as fit.")
    n_batch: int | None = N_BATCH(
        None, "By default 128 tokens, or llama-server's own number with layers on a GPU."
    )
    mmproj: str | None = option(
        None,
        "Path of the model's image encoder in GGUF (mmproj), which lets the model see images.",
        metavar="path",
        outside="file",
    )
    draft_model: str | None = option(
        None,
        "Path of a small model in GGUF with the same vocabulary, which proposes tokens that the model checks: "
        "faster answers that differ by rounding only.",
        metavar="path",
        outside="file",
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
        maximum=10_000,
    )
    n_parallel: int = option(
        1,
        "Number of answers that one server computes at once, each with a context of its own (slots). Engines with "
        "the same model and load options share a server, up to this number.",
        minimum=1,
        maximum=256,
        slots=True,
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
        outside="arguments",
    )


def with_defaults(options: LlamaServerLoadOptions, devices: Sequence[str]) -> LlamaServerLoadOptions:
    """Return the options with absolute paths and, if the server computes on the CPU, with defaults.

    The defaults are those of the backend `llama_cpp`, so that both backends give the same results. `devices` are the
    devices that the program lists. Raises InputError.
    """
    options = replace(
        options,
        lora=_absolute(options.lora),
        mmproj=_absolute(options.mmproj),
        draft_model=_absolute(options.draft_model),
    )
    if options.n_gpu_layers != 0 and (devices or options.rpc_servers):
        return options
    return with_cpu_defaults(options)


def _absolute(path: str | None) -> str | None:
    try:
        return path if path is None else str(Path(path).expanduser().absolute())
    except RuntimeError as error:
        raise InputError(f"The home folder in {path} is not known.") from error
