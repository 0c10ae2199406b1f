"""Load a model and make a context, with llama.cpp's parameters set from the options."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from pathlib import Path

from paragone import Cancelled, EngineError, InputError, Report
from paragone.gguf.files import parts
from paragone.gguf.options import CacheType, with_cpu_defaults
from paragone_llama_cpp.build import library
from paragone_llama_cpp.c_api.functions import Pointer, lib
from paragone_llama_cpp.c_api.structures import (
    LOAD_MODE_NONE,
    ModelParams,
    ProgressCallback,
    TensorBufferOverride,
)
from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions
from paragone_llama_cpp.model.mapped_file import release_pages

CACHE_TYPES: dict[CacheType, int] = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q5_1": 7,
    "q5_0": 6,
    "q4_1": 3,
    "q4_0": 2,
    "iq4_nl": 20,
}
"""Numbers of the types in ggml (ggml_type)."""
_ROPE_SCALING = {None: -1, "none": 0, "linear": 1, "yarn": 2, "longrope": 3}
_FLASH_ATTN = {"auto": -1, "off": 0, "on": 1}
_SPLIT_NONE = 0
_POOLING_NONE = 0
_COPIED = r"(CPU_REPACK|AMX) model buffer size"
"""The log line of weights that llama.cpp has copied into another layout in main memory."""

_EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""The names of experts' tensors after `blk.N` (LLM_FFN_EXPS_REGEX in llama.cpp's common/common.h)."""

OUTPUTS = 32
"""Largest number of positions whose logits one computation of an engine's context returns.

llama.cpp allocates memory for these logits permanently, once in the compute buffer and once for a copy: 8 bytes
for each token of the vocabulary at each position. With 262,144 tokens, 32 positions take 64 MiB, and all 512
positions of a batch would take 1 GiB.
"""


def with_defaults(options: LlamaCppLoadOptions, *, on_gpu: bool) -> LlamaCppLoadOptions:
    """Return the options with the device-dependent defaults filled in."""
    return replace(options, n_batch=options.n_batch or 512) if on_gpu else with_cpu_defaults(options)


def load_model(
    path: Path,
    options: LlamaCppLoadOptions,
    report: Report,
    cancelled: Cancelled | bool,
    *,
    weights: bool = True,
) -> tuple[Pointer, str]:
    """Return a pointer to the loaded model, and how many of its layers are on a GPU.

    Without `weights`, llama.cpp reads the header only. Contexts of a model without weights log the memory
    that they would allocate, and allocate none. Raises InputError if the file or an option is wrong, and EngineError if
    loading fails.
    """
    params = lib.llama_model_default_params()
    params.n_gpu_layers = -1 if options.n_gpu_layers is None else options.n_gpu_layers
    _place(params, options)
    _keep_experts(params, options.n_cpu_moe)
    if not weights:  # the same parameters as in llama.cpp's common/fit.cpp
        params.no_alloc, params.load_mode = True, LOAD_MODE_NONE

    def progress(fraction: float, _: object) -> bool:
        report(fraction)
        return not cancelled

    params.progress_callback = ProgressCallback(progress)
    log = library.Log()
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    if model is None:
        raise _failed(path, log, cancelled)
    if weights and log.find(_COPIED):
        release_pages(parts(path))
    offloaded = log.find(r"offloaded (\d+)/(\d+) layers")
    return model, f"{offloaded[1]} of {offloaded[2]}" if offloaded else "none"


def make_context(
    model: Pointer,
    options: LlamaCppLoadOptions,
    *,
    n_ctx: int,
    threads: int,
    owner: str,
    outputs: int = OUTPUTS,
    embeddings: bool = False,
) -> tuple[Pointer, str]:
    """Return a pointer to a context of the model, and whether the context uses flash attention (`on` or `off`).

    The defaults of the options must be filled in. `outputs` is the largest number of positions whose logits one
    computation returns. With `embeddings`, a computation also returns the hidden states of its tokens. Raises EngineError.
    """
    n_batch = options.n_batch or 0
    params = lib.llama_context_default_params()
    params.n_ctx = n_ctx
    params.n_batch = params.n_ubatch = n_batch
    params.n_outputs_max = params.n_outputs_max_per_seq = min(outputs, n_batch)
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = _FLASH_ATTN[options.flash_attn]
    params.type_k, params.type_v = CACHE_TYPES[options.type_k], CACHE_TYPES[options.type_v]
    params.rope_scaling_type = _ROPE_SCALING[options.rope_scaling]
    params.rope_freq_base = options.rope_freq_base or 0.0  # 0 means the model's own value
    params.rope_freq_scale = options.rope_freq_scale or 0.0
    params.yarn_orig_ctx = options.yarn_orig_ctx or 0
    if embeddings:
        params.embeddings, params.pooling_type = True, _POOLING_NONE
    log = library.Log()
    context = lib.llama_init_from_model(model, params)
    if context is None:
        raise EngineError(
            f"llama.cpp could not make a context of {n_ctx:,} tokens for {owner}: {log.error()}.",
            hint="Try a smaller n_ctx, or a smaller type for the KV cache.",
        )
    refused = log.find(r"Flash Attention not supported") or options.flash_attn == "off"
    return context, "off" if refused else "on"


def _place(params: ModelParams, options: LlamaCppLoadOptions) -> None:
    """Set how llama.cpp distributes the model over GPUs."""
    split = options.tensor_split
    if options.main_gpu is not None:
        params.split_mode, params.main_gpu = _SPLIT_NONE, options.main_gpu
    if split:
        room = lib.llama_max_devices()
        if len(split) > room:
            raise InputError(
                f"The option 'tensor_split' has {len(split)} shares, but llama.cpp supports {room} GPUs at most."
            )
        params.tensor_split = (ctypes.c_float * room)(*split)


def is_expert(tensor: str) -> bool:
    """Whether a tensor holds weights of experts, by its name."""
    return re.match(rf"blk\.\d+{_EXPERTS}", tensor) is not None


def _keep_experts(params: ModelParams, layers: int) -> None:
    """Keep the experts of the first layers in main memory, as llama.cpp's `--n-cpu-moe` does."""
    if layers:
        cpu = lib.ggml_backend_cpu_buffer_type()
        patterns = [rf"blk\.{layer}{_EXPERTS}".encode() for layer in range(layers)]
        overrides = [TensorBufferOverride(pattern, cpu) for pattern in patterns]
        params.tensor_buft_overrides = (TensorBufferOverride * (layers + 1))(
            *overrides, TensorBufferOverride()
        )


def _failed(path: Path, log: library.Log, cancelled: Cancelled | bool) -> Exception:
    if cancelled:
        return EngineError(f"Loading {path.name} was cancelled.")
    if log.find(r"(failed|unable) to allocate|cannot allocate|out of memory|insufficient memory"):
        return EngineError(
            f"{path.name} does not fit in memory: {log.error()}.",
            hint="Close another engine, use a smaller quantization, or lower n_gpu_layers.",
        )
    return InputError(f"llama.cpp could not load {path.name}: {log.error()}.")
