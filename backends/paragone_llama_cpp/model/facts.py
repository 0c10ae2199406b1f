"""The facts of an open model: the library, and the settings in force under their standard names."""

from __future__ import annotations

from pathlib import PurePath

from paragone_llama_cpp.build import library
from paragone_llama_cpp.build.instructions import features
from paragone_llama_cpp.c_api.functions import lib
from paragone_llama_cpp.model.opening import OpenModel
from paragone_llama_cpp.options import LlamaCppLoadOptions

__all__ = ["facts_of"]

_NO_COMMIT = ("", "unknown")
"""What a library built outside a repository tells."""


def facts_of(model: OpenModel, *, flash_attn: str, n_batch: int, threads: int) -> dict[str, str]:
    """Return the facts of a model with a context. `flash_attn` says whether the context uses it."""
    facts = {
        **_build(library.facts()),
        "parameters": str(lib.llama_model_n_params(model.pointer)),
        "LoRA adapter": _adapter(model.options),
        "other samplers": "none",
        "layers on a GPU": model.on_gpu,
        "K cache": model.options.type_k,
        "V cache": model.options.type_v,
        "flash attention": flash_attn,
        "threads": str(threads),
        "batch size": str(n_batch),
    }
    if model.template is not None:
        facts["chat template"] = model.template.source
    return facts


def _build(found: dict[str, str]) -> dict[str, str]:
    """Return the facts of the library with those of its build under their standard names."""
    facts = {
        "program": "llama.cpp",
        "origin": str(library.load()),
        "version": found["llama.cpp"],
        "instructions": ", ".join(features(found["build"])),
        "build": found["build"],
        "devices": found["devices"],
        "GPU": found["GPU"],
    }
    commit = lib.ggml_commit().decode().removesuffix("-dirty")  # llama-server does not tell this of itself
    return facts if commit in _NO_COMMIT else {**facts, "commit": commit}


def _adapter(options: LlamaCppLoadOptions) -> str:
    return (
        "none" if options.lora is None else f"{PurePath(options.lora).name}, strength {options.lora_scale:g}"
    )
