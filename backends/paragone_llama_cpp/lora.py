"""LoRA adapters."""

from __future__ import annotations

import ctypes
from pathlib import Path

from llama_cpp import llama_cpp as lib

from paragone import InputError
from paragone_llama_cpp import library
from paragone_llama_cpp.gguf import GgufError, read_header
from paragone_llama_cpp.options import LlamaCppLoadOptions

__all__ = ["apply_lora"]


def apply_lora(model: int, context: int, options: LlamaCppLoadOptions) -> None:
    """Apply the adapter that the options name, if any; it is freed with its model. Raises InputError."""
    if options.lora is None:
        return
    path = Path(options.lora).expanduser()
    try:
        kind = read_header(str(path)).kind
    except OSError as error:
        raise InputError(f"The LoRA adapter {path} cannot be read: {error.strerror or error}.") from error
    except GgufError as error:
        raise InputError(f"The LoRA adapter {path.name} {error}.") from error
    if kind != "adapter":
        raise InputError(f"{path.name} is not a LoRA adapter.")
    log = library.Log()
    adapter = lib.llama_adapter_lora_init(model, str(path).encode())
    if not adapter:
        raise InputError(f"The LoRA adapter {path.name} cannot be applied: {log.error()}.")
    adapters = (lib.llama_adapter_lora_p_ctypes * 1)(adapter)
    if lib.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(options.lora_scale)):
        raise InputError(f"The LoRA adapter {path.name} does not fit the model.")
