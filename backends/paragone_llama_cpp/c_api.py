"""The part of llama.cpp's C API that paragone uses, and the installed builds that can be loaded."""

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Final, Literal, NewType, TypeAlias, get_args, get_type_hints

from paragone import EngineError, InputError
from paragone.texts import install_command, installed_version

LOAD_MODE_NONE = 0
"""llama_load_mode: read no weights."""

AbortCallback = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)
ProgressCallback = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_float, ctypes.c_void_p)
LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class TensorBufferOverride(ctypes.Structure):
    """llama_model_tensor_buft_override: a buffer type for tensors whose names match. An entry without a pattern ends a list."""

    _fields_: ClassVar = [("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p)]


_Fields: TypeAlias = tuple[tuple[str, Any, float | None], ...]
"""The fields of a structure of parameters: name, type and llama.cpp's default; None for a null pointer."""

_MODEL: Final[_Fields] = (
    ("devices", ctypes.c_void_p, None),
    ("tensor_buft_overrides", ctypes.POINTER(TensorBufferOverride), None),
    ("n_gpu_layers", ctypes.c_int32, -1),
    ("split_mode", ctypes.c_int, 1),
    ("load_mode", ctypes.c_int, -1),
    ("lazy_mode", ctypes.c_int, 1),
    ("main_gpu", ctypes.c_int32, 0),
    ("tensor_split", ctypes.POINTER(ctypes.c_float), None),
    ("progress_callback", ProgressCallback, None),
    ("progress_callback_user_data", ctypes.c_void_p, None),
    ("kv_overrides", ctypes.c_void_p, None),
    ("vocab_only", ctypes.c_bool, False),
    ("check_tensors", ctypes.c_bool, False),
    ("use_extra_bufts", ctypes.c_bool, True),
    ("no_host", ctypes.c_bool, False),
    ("no_alloc", ctypes.c_bool, False),
    ("load_mtp", ctypes.c_bool, False),
)


class ModelParams(ctypes.Structure):
    _fields_: ClassVar = [field[:2] for field in _MODEL]


_CONTEXT: Final[_Fields] = (
    ("n_ctx", ctypes.c_uint32, 512),
    ("n_batch", ctypes.c_uint32, 2048),
    ("n_ubatch", ctypes.c_uint32, 512),
    ("n_seq_max", ctypes.c_uint32, 1),
    ("n_rs_seq", ctypes.c_uint32, 0),
    ("n_outputs_max", ctypes.c_uint32, 0),
    ("n_outputs_max_per_seq", ctypes.c_uint32, 1),
    ("n_threads", ctypes.c_int32, 4),
    ("n_threads_batch", ctypes.c_int32, 4),
    ("ctx_type", ctypes.c_int, 0),
    ("rope_scaling_type", ctypes.c_int, -1),
    ("pooling_type", ctypes.c_int, -1),
    ("attention_type", ctypes.c_int, -1),
    ("flash_attn_type", ctypes.c_int, -1),
    ("rope_freq_base", ctypes.c_float, 0.0),
    ("rope_freq_scale", ctypes.c_float, 0.0),
    ("yarn_ext_factor", ctypes.c_float, -1.0),
    ("yarn_attn_factor", ctypes.c_float, -1.0),
    ("yarn_beta_fast", ctypes.c_float, -1.0),
    ("yarn_beta_slow", ctypes.c_float, -1.0),
    ("yarn_orig_ctx", ctypes.c_uint32, 0),
    ("defrag_thold", ctypes.c_float, -1.0),
    ("cb_eval", ctypes.c_void_p, None),
    ("cb_eval_user_data", ctypes.c_void_p, None),
    ("type_k", ctypes.c_int, 1),
    ("type_v", ctypes.c_int, 1),
    ("abort_callback", AbortCallback, None),
    ("abort_callback_data", ctypes.c_void_p, None),
    ("embeddings", ctypes.c_bool, False),
    ("offload_kqv", ctypes.c_bool, True),
    ("no_perf", ctypes.c_bool, True),
    ("op_offload", ctypes.c_bool, True),
    ("swa_full", ctypes.c_bool, True),
    ("kv_unified", ctypes.c_bool, False),
    ("samplers", ctypes.c_void_p, None),
    ("n_samplers", ctypes.c_size_t, 0),
    ("ctx_other", ctypes.c_void_p, None),
)


class ContextParams(ctypes.Structure):
    _fields_: ClassVar = [field[:2] for field in _CONTEXT]


_SAMPLER_CHAIN: Final[_Fields] = (("no_perf", ctypes.c_bool, True),)


class SamplerChainParams(ctypes.Structure):
    _fields_: ClassVar = [field[:2] for field in _SAMPLER_CHAIN]


class Batch(ctypes.Structure):
    _fields_: ClassVar = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.POINTER(ctypes.c_float)),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.c_void_p),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


class GgufInitParams(ctypes.Structure):
    """gguf_init_params. `ctx` receives the ggml context that holds the tensors."""

    _fields_: ClassVar = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.POINTER(ctypes.c_void_p))]


class TypeTraits(ctypes.Structure):
    _fields_: ClassVar = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_float), ctypes.c_int64)),
        ("from_float_ref", ctypes.c_void_p),
    ]


Pointer = NewType("Pointer", int)
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
    """The library's functions, which its headers document. The attributes exist after `bind`. The annotations determine
    the C types of arguments and results."""

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
"""The functions of the library that this process has loaded: see `load_build`."""


BuildName: TypeAlias = Literal["native", "prebuilt"]

_PACKAGES: Final[dict[BuildName, tuple[str, str, Sequence[str]]]] = {
    "native": ("llama-cpp-python", "llama_cpp", ("lib/libllama.so", "lib/libllama.dylib", "lib/llama.dll")),
    "prebuilt": ("xllamacpp", "xllamacpp", ("xllamacpp*.so", "xllamacpp*.pyd")),
}
"""For each build: its distribution, its package, and patterns of its library's file. The preferred build is first."""

_EXTRAS: Final[dict[BuildName, str]] = {"native": "llama-cpp", "prebuilt": "llama-cpp-prebuilt"}


@dataclass(frozen=True, slots=True)
class InstalledBuild:
    name: BuildName
    """`native` was compiled for this machine's processor or GPU, `prebuilt` for any processor with AVX2 (on x86-64)."""
    distribution: str
    file: Path

    def __str__(self) -> str:
        return f"{self.distribution} {installed_version(self.distribution) or 'unknown'}"


def installed_builds() -> list[InstalledBuild]:
    """Return the builds that this interpreter has, the preferred build first. Imports no package of a build."""
    found = []
    for name, (distribution, package, patterns) in _PACKAGES.items():
        spec = PathFinder.find_spec(package, sys.path)
        folders = (spec and spec.submodule_search_locations) or ()
        files = (file for folder in folders for pattern in patterns for file in Path(folder).glob(pattern))
        if (file := next(files, None)) is not None:
            found.append(InstalledBuild(name, distribution, file))
    return found


_loaded: InstalledBuild | None = None


def load_build(name: BuildName | None = None) -> InstalledBuild:
    """Load the named build, or the preferred build, into this process, where it stays loaded. Returns the build. Raises
    InputError if the build is not installed, and EngineError if the build cannot be used."""
    global _loaded
    if _loaded is not None and name in (None, _loaded.name):
        return _loaded
    build = next((build for build in installed_builds() if name in (None, build.name)), None)
    if build is None:
        what = f"The {name} build of llama.cpp" if name else "llama.cpp"
        command = install_command(_EXTRAS[name or "prebuilt"])
        raise InputError(f"{what} is not installed.", hint=f"Install it with: {command}")
    if _loaded is not None:
        raise EngineError(f"This process has already loaded {_loaded}, so it cannot load {build}.")
    try:
        library = ctypes.CDLL(str(build.file))
    except OSError as error:
        again = install_command(_EXTRAS[build.name], "--force-reinstall", "--no-deps")
        raise EngineError(
            f"{build} cannot be loaded: {error}.", hint=f"Install this build again with: {again}"
        ) from error
    problems = [f"has no function {function}" for function in lib.bind(library)] or list(_differences())
    if problems:
        more = f", and {len(problems) - 1} more differences" if len(problems) > 1 else ""
        raise EngineError(
            f"This version of paragone cannot use {build}, whose llama.cpp {problems[0]}{more}.",
            hint=f"Install the version that paragone can use: {install_command(_EXTRAS[build.name])}",
        )
    _loaded = build
    return build


def _differences() -> Iterator[str]:
    """Describe the library's default parameters that differ from those of the declared structures. If the library's
    structure has an additional field, the values after that field are read from wrong offsets."""
    for what, params, fields in (
        ("model", lib.llama_model_default_params(), _MODEL),
        ("context", lib.llama_context_default_params(), _CONTEXT),
        ("sampler chain", lib.llama_sampler_chain_default_params(), _SAMPLER_CHAIN),
    ):
        for name, _, usual in fields:
            value = getattr(params, name)
            if bool(value) if usual is None else value != usual:
                yield f"has other default parameters of a {what} ({name})"
