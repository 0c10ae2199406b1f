"""LoRA adapters."""

from __future__ import annotations

import ctypes
from pathlib import Path

from paragone import InputError
from paragone.gguf.header import GgufError, read_header
from paragone_llama_cpp.build import library
from paragone_llama_cpp.c_api.functions import Pointer, Size, lib
from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions


def check_lora(options: LlamaCppLoadOptions) -> int:
    """Return the size in bytes of the adapter in the options, 0 if there is none. Raises InputError."""
    if options.lora is None:
        return 0
    path = Path(options.lora).expanduser()
    try:
        kind = read_header(str(path)).kind
    except OSError as error:
        raise InputError(f"The LoRA adapter {path} cannot be read: {error.strerror or error}.") from error
    except GgufError as error:
        raise InputError(f"The LoRA adapter {path.name} {error}.") from error
    if kind != "adapter":
        raise InputError(f"{path.name} is not a LoRA adapter.")
    return path.stat().st_size


def load_lora(model: Pointer, options: LlamaCppLoadOptions) -> Pointer | None:
    """Return a pointer to the adapter in the options, if any.

    llama.cpp frees the adapter with its model. Raises InputError.
    """
    if options.lora is None:
        return None
    check_lora(options)
    path = Path(options.lora).expanduser()
    log = library.Log()
    adapter = lib.llama_adapter_lora_init(model, str(path).encode())
    if not adapter:
        raise InputError(f"The LoRA adapter {path.name} cannot be applied: {log.error()}.")
    return adapter


def apply_lora(adapter: Pointer | None, context: Pointer, options: LlamaCppLoadOptions) -> None:
    """Apply an adapter, if any, to a context. Raises InputError."""
    if adapter is None:
        return
    adapters = (ctypes.c_void_p * 1)(adapter)
    if lib.llama_set_adapters_lora(context, adapters, Size(1), (ctypes.c_float * 1)(options.lora_scale)):
        raise InputError(f"The LoRA adapter {options.lora} does not fit the model.")
