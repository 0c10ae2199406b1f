"""The functions of llama.h, ggml.h and gguf.h that paragone uses, such as `lib.llama_decode`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import NoneType
from typing import Any, Final, NewType, get_args, get_type_hints

from paragone_llama_cpp.c_api.structures import (
    Batch,
    ContextParams,
    GgufInitParams,
    ModelParams,
    SamplerChainParams,
)

Pointer = NewType("Pointer", int)
"""The address of an object of the library."""
UInt32 = NewType("UInt32", int)
UInt64 = NewType("UInt64", int)
Int64 = NewType("Int64", int)
Size = NewType("Size", int)

_C_TYPES: Final[dict[object, Any]] = {
    NoneType: None,
    bool: ctypes.c_bool,
    int: ctypes.c_int32,
    float: ctypes.c_float,
    bytes: ctypes.c_char_p,
    object: ctypes.c_void_p,  # annotates what ctypes passes by reference: arrays, callbacks, `byref`
    Pointer: ctypes.c_void_p,
    UInt32: ctypes.c_uint32,
    UInt64: ctypes.c_uint64,
    Int64: ctypes.c_int64,
    Size: ctypes.c_size_t,
}


class Functions:
    """The library's functions, which its headers document. The attributes exist after `bind`.

    The annotations determine the C types of arguments and results.
    """

    # llama.h: the library
    llama_version: Callable[[], bytes]
    llama_print_system_info: Callable[[], bytes]
    llama_max_devices: Callable[[], Size]
    llama_supports_gpu_offload: Callable[[], bool]
    llama_supports_rpc: Callable[[], bool]
    llama_log_set: Callable[[object, object], None]

    # llama.h: models
    llama_model_default_params: Callable[[], ModelParams]
    llama_model_load_from_file: Callable[[bytes, ModelParams], Pointer | None]
    llama_model_free: Callable[[Pointer], None]
    llama_model_has_encoder: Callable[[Pointer], bool]
    llama_model_n_ctx_train: Callable[[Pointer], int]
    llama_model_n_embd: Callable[[Pointer], int]
    llama_model_n_embd_out: Callable[[Pointer], int]
    llama_model_n_head: Callable[[Pointer], int]
    llama_model_n_head_kv: Callable[[Pointer], int]
    llama_model_n_layer: Callable[[Pointer], int]
    llama_model_n_params: Callable[[Pointer], UInt64]
    llama_model_size: Callable[[Pointer], UInt64]
    llama_adapter_lora_init: Callable[[Pointer, bytes], Pointer | None]

    # llama.h: vocabularies
    llama_model_get_vocab: Callable[[Pointer], Pointer]
    llama_vocab_n_tokens: Callable[[Pointer], int]
    llama_vocab_bos: Callable[[Pointer], int]
    llama_vocab_eos: Callable[[Pointer], int]
    llama_vocab_get_add_bos: Callable[[Pointer], bool]
    llama_vocab_get_add_eos: Callable[[Pointer], bool]
    llama_vocab_is_control: Callable[[Pointer, int], bool]
    llama_vocab_is_eog: Callable[[Pointer, int], bool]
    llama_tokenize: Callable[[Pointer, bytes, int, object, int, bool, bool], int]
    llama_token_to_piece: Callable[[Pointer, int, object, int, int, bool], int]

    # llama.h: contexts
    llama_context_default_params: Callable[[], ContextParams]
    llama_init_from_model: Callable[[Pointer, ContextParams], Pointer | None]
    llama_free: Callable[[Pointer], None]
    llama_n_batch: Callable[[Pointer], UInt32]
    llama_n_ctx: Callable[[Pointer], UInt32]
    llama_n_threads: Callable[[Pointer], int]
    llama_n_ubatch: Callable[[Pointer], UInt32]
    llama_set_n_threads: Callable[[Pointer, int, int], None]
    llama_set_warmup: Callable[[Pointer, bool], None]
    llama_set_abort_callback: Callable[[Pointer, object, object], None]
    llama_set_adapters_lora: Callable[[Pointer, object, Size, object], int]
    llama_decode: Callable[[Pointer, Batch], int]
    llama_get_model: Callable[[Pointer], Pointer]
    llama_get_embeddings: Callable[[Pointer], Pointer]
    llama_get_logits: Callable[[Pointer], Pointer]
    llama_get_logits_ith: Callable[[Pointer, int], Pointer]
    llama_get_memory: Callable[[Pointer], Pointer]
    llama_memory_clear: Callable[[Pointer, bool], None]
    llama_memory_seq_rm: Callable[[Pointer, int, int, int], bool]

    # llama.h: samplers
    llama_sampler_chain_default_params: Callable[[], SamplerChainParams]
    llama_sampler_chain_init: Callable[[SamplerChainParams], Pointer]
    llama_sampler_chain_add: Callable[[Pointer, Pointer], None]
    llama_sampler_init_dist: Callable[[UInt32], Pointer]
    llama_sampler_init_grammar: Callable[[Pointer, bytes, bytes], Pointer | None]
    llama_sampler_init_greedy: Callable[[], Pointer]
    llama_sampler_init_min_p: Callable[[float, Size], Pointer]
    llama_sampler_init_penalties: Callable[[int, int, float, float, float], Pointer]
    llama_sampler_init_temp: Callable[[float], Pointer]
    llama_sampler_init_top_k: Callable[[int], Pointer]
    llama_sampler_init_top_p: Callable[[float, Size], Pointer]
    llama_sampler_accept: Callable[[Pointer, int], None]
    llama_sampler_apply: Callable[[Pointer, object], None]
    llama_sampler_free: Callable[[Pointer], None]
    llama_sampler_sample: Callable[[Pointer, Pointer, int], int]

    # ggml-backend.h: devices
    ggml_backend_cpu_buffer_type: Callable[[], Pointer]
    ggml_backend_dev_count: Callable[[], Size]
    ggml_backend_dev_get: Callable[[Size], Pointer]
    ggml_backend_dev_name: Callable[[Pointer], bytes]
    ggml_backend_dev_description: Callable[[Pointer], bytes]
    ggml_backend_dev_type: Callable[[Pointer], int]
    ggml_backend_dev_memory: Callable[[Pointer, object, object], None]
    ggml_backend_reg_by_name: Callable[[bytes], Pointer]
    ggml_backend_reg_get_proc_address: Callable[[Pointer, bytes], Pointer]
    ggml_backend_register: Callable[[Pointer], None]

    # ggml.h: the library, numbers and tensors
    ggml_commit: Callable[[], bytes]
    ggml_free: Callable[[Pointer], None]
    ggml_get_data: Callable[[Pointer], Pointer]
    ggml_get_tensor: Callable[[Pointer, bytes], Pointer]
    ggml_get_type_traits: Callable[[int], Pointer]
    ggml_nrows: Callable[[Pointer], Int64]
    ggml_nelements: Callable[[Pointer], Int64]
    ggml_quantize_chunk: Callable[[int, object, object, Int64, Int64, Int64, object], Size]
    ggml_row_size: Callable[[int, Int64], Size]

    # gguf.h: files
    gguf_init_from_file: Callable[[bytes, GgufInitParams], Pointer | None]
    gguf_free: Callable[[Pointer], None]
    gguf_get_alignment: Callable[[Pointer], Size]
    gguf_get_n_tensors: Callable[[Pointer], Int64]
    gguf_get_tensor_name: Callable[[Pointer, Int64], bytes]
    gguf_get_tensor_type: Callable[[Pointer, Int64], int]
    gguf_set_tensor_type: Callable[[Pointer, bytes, int], None]
    gguf_set_val_u32: Callable[[Pointer, bytes, UInt32], None]
    gguf_write_to_file: Callable[[Pointer, bytes, bool], bool]

    def bind(self, library: ctypes.CDLL) -> list[str]:
        """Set the attributes to a library's functions. Returns the names of the functions that the library lacks."""
        missing = []
        for name, hint in get_type_hints(type(self)).items():
            arguments, result = get_args(hint)
            try:
                function = getattr(library, name)
            except AttributeError:
                missing.append(name)
                continue
            function.argtypes = [_c_type(argument) for argument in arguments]
            function.restype = _c_type(result)
            setattr(self, name, function)
        return missing


def _c_type(hint: object) -> Any:
    """Return the C type of an annotation. `X | None` is a pointer that can be null."""
    kind = next((part for part in get_args(hint) if part is not NoneType), hint)
    return _C_TYPES.get(kind, kind)


lib: Final = Functions()
"""The functions of the library that this process has loaded: see `c_api.loading`."""
