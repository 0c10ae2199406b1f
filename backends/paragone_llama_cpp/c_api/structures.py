"""The structures, callbacks and constants of llama.h, ggml.h and gguf.h that paragone uses.

The structures have the layout of llama-cpp-python 0.3.36 and of xllamacpp 2026.9.11063. A library with another layout
would corrupt memory silently, so `load_build` compares the default parameters that the library returns with the
expected ones.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_float,
    c_int,
    c_int8,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_void_p,
)
from typing import ClassVar

LOAD_MODE_NONE = 0
"""llama_load_mode: read no weights."""

AbortCallback = CFUNCTYPE(c_bool, c_void_p)
ProgressCallback = CFUNCTYPE(c_bool, c_float, c_void_p)
LogCallback = CFUNCTYPE(None, c_int, c_char_p, c_void_p)


class TensorBufferOverride(Structure):
    """llama_model_tensor_buft_override: a buffer type for tensors whose names match. An entry without a pattern ends a list."""

    _fields_: ClassVar = [("pattern", c_char_p), ("buffer_type", c_void_p)]


class ModelParams(Structure):
    """The C structure llama_model_params."""

    _fields_: ClassVar = [
        ("devices", c_void_p),
        ("tensor_buft_overrides", POINTER(TensorBufferOverride)),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int),
        ("load_mode", c_int),
        ("lazy_mode", c_int),
        ("main_gpu", c_int32),
        ("tensor_split", POINTER(c_float)),
        ("progress_callback", ProgressCallback),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
    ]


class ContextParams(Structure):
    """The C structure llama_context_params."""

    _fields_: ClassVar = [
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int),
        ("rope_scaling_type", c_int),
        ("pooling_type", c_int),
        ("attention_type", c_int),
        ("flash_attn_type", c_int),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int),
        ("type_v", c_int),
        ("abort_callback", AbortCallback),
        ("abort_callback_data", c_void_p),
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
    ]


class SamplerChainParams(Structure):
    """The C structure llama_sampler_chain_params."""

    _fields_: ClassVar = [("no_perf", c_bool)]


class Batch(Structure):
    """The C structure llama_batch."""

    _fields_: ClassVar = [
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", c_void_p),
        ("logits", POINTER(c_int8)),
    ]


class TokenData(Structure):
    """llama_token_data: a candidate of a sampler."""

    _fields_: ClassVar = [("id", c_int32), ("logit", c_float), ("p", c_float)]


class TokenDataArray(Structure):
    """llama_token_data_array: the candidates of a sampler."""

    _fields_: ClassVar = [
        ("data", POINTER(TokenData)),
        ("size", c_size_t),
        ("selected", c_int64),
        ("sorted", c_bool),
    ]


class GgufInitParams(Structure):
    """gguf_init_params. `ctx` receives the ggml context that holds the tensors."""

    _fields_: ClassVar = [("no_alloc", c_bool), ("ctx", POINTER(c_void_p))]


class TypeTraits(Structure):
    """ggml_type_traits: a type of numbers, and its conversion to float32."""

    _fields_: ClassVar = [
        ("type_name", c_char_p),
        ("blck_size", c_int64),
        ("blck_size_interleave", c_int64),
        ("type_size", c_size_t),
        ("is_quantized", c_bool),
        ("to_float", CFUNCTYPE(None, c_void_p, POINTER(ctypes.c_float), c_int64)),
        ("from_float_ref", c_void_p),
    ]
