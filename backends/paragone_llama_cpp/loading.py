"""Opening a model: options into llama.cpp's parameters, and a context that fits in memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

from llama_cpp import llama_cpp as lib

from paragone import Cancelled, EngineError, InputError, Report
from paragone_llama_cpp import library
from paragone_llama_cpp.options import LlamaCppLoadOptions

__all__ = ["load_model", "make_context", "meta"]

_CACHE_TYPES = {
    "f32": lib.GGML_TYPE_F32,
    "f16": lib.GGML_TYPE_F16,
    "bf16": 30,
    "q8_0": lib.GGML_TYPE_Q8_0,
    "q5_1": lib.GGML_TYPE_Q5_1,
    "q5_0": lib.GGML_TYPE_Q5_0,
    "q4_1": lib.GGML_TYPE_Q4_1,
    "q4_0": lib.GGML_TYPE_Q4_0,
    "iq4_nl": lib.GGML_TYPE_IQ4_NL,
}
_ROPE = {"none": 0, "linear": 1, "yarn": 2, "longrope": 3}
_FLASH = {"auto": -1, "off": 0, "on": 1}


def load_model(path: Path, options: LlamaCppLoadOptions, report: Report, cancelled: Cancelled) -> int:
    """Return a pointer to the loaded model. Raises InputError and EngineError."""
    params = lib.llama_model_default_params()
    params.n_gpu_layers = -1 if options.n_gpu_layers is None else options.n_gpu_layers
    if options.main_gpu is not None:
        params.split_mode, params.main_gpu = 0, options.main_gpu
    if options.tensor_split:
        room = lib.llama_max_devices()
        if len(options.tensor_split) > room:
            raise InputError(
                f"The option 'tensor_split' has {len(options.tensor_split)} shares.",
                hint=f"This build of llama.cpp knows at most {room} GPUs.",
            )
        split = (ctypes.c_float * room)(*options.tensor_split)
        params.tensor_split = split

    def progress(fraction: float, _: object) -> bool:
        report(fraction)
        return not cancelled

    params.progress_callback = lib.llama_progress_callback(progress)
    with library.heard() as said:
        model: int | None = lib.llama_model_load_from_file(str(path).encode(), params)
    if model is None:
        if cancelled:
            raise EngineError(f"Loading {path.name} was given up.")
        raise EngineError(f"llama.cpp could not load {path.name}: {said()}.", hint="The log says more.")
    return model


def make_context(
    model: int, options: LlamaCppLoadOptions, *, n_ctx: int, n_batch: int, threads: int, name: str
) -> int:
    """Return a pointer to a context of the model. Raises EngineError."""
    params = lib.llama_context_default_params()
    params.n_ctx = n_ctx
    params.n_batch = params.n_ubatch = n_batch
    params.n_outputs_max = params.n_outputs_max_per_seq = n_batch
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = _FLASH[options.flash_attn]
    params.type_k, params.type_v = _CACHE_TYPES[options.type_k], _CACHE_TYPES[options.type_v]
    if options.rope_scaling is not None:
        params.rope_scaling_type = _ROPE[options.rope_scaling]
    params.rope_freq_base = options.rope_freq_base or 0.0
    params.rope_freq_scale = options.rope_freq_scale or 0.0
    params.yarn_orig_ctx = options.yarn_orig_ctx or 0
    with library.heard() as said:
        context: int | None = lib.llama_init_from_model(model, params)
    if context is None:
        raise EngineError(f"llama.cpp could not make a context of {n_ctx:,} tokens for {name}: {said()}.")
    return context


def meta(model: int, key: str) -> str | None:
    """Return a value of the model's metadata as text."""
    return _text(lambda buffer, room: lib.llama_model_meta_val_str(model, key.encode(), buffer, room))


def _text(fill: Callable[[ctypes.Array[ctypes.c_char], int], int]) -> str | None:
    room = 256
    while True:
        buffer = ctypes.create_string_buffer(room)
        length = fill(buffer, room)
        if length < 0:
            return None
        if length < room:
            return buffer.value.decode("utf-8", "replace")
        room = length + 1
