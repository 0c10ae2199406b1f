"""The facts of an open model, under their standard names, and the cautions that apply to each of its runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from paragone import Caution
from paragone_llama_cpp.build import library
from paragone_llama_cpp.build.instructions import features
from paragone_llama_cpp.c_api.functions import lib
from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions
from paragone_llama_cpp.model.opening import OpenModel

_NO_COMMIT = ("", "unknown")
"""What a library that was built outside a git repository reports as its commit."""


def facts_of(model: OpenModel, *, flash_attn: str, n_batch: int, threads: int) -> dict[str, str]:
    """Return the facts of a model with a context. `flash_attn` is `on` or `off`."""
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
    """Return the facts of the library and of its build, under standard names where there are any."""
    facts = {
        "program": "llama.cpp",
        "origin": str(library.load()),
        "version": found["llama.cpp"],
        "instructions": ", ".join(features(found["build"])),
        "build": found["build"],
        "devices": found["devices"],
        "GPU": found["GPU"],
    }
    commit = lib.ggml_commit().decode().removesuffix("-dirty")  # llama-server does not report this suffix
    return facts if commit in _NO_COMMIT else {**facts, "commit": commit}


def _adapter(options: LlamaCppLoadOptions) -> str:
    return (
        "none" if options.lora is None else f"{PurePath(options.lora).name}, strength {options.lora_scale:g}"
    )


def cautions(model: OpenModel, size: int) -> Iterator[Caution]:
    """Yield the cautions for a model with a context window of `size` tokens."""
    options = model.options
    trained = lib.llama_model_n_ctx_train(model.pointer)
    if model.template is None:
        sentence = (
            f"{model.path.name} has no chat template: the model continues the plain text of the messages."
        )
        yield Caution(code="no-chat-template", sentence=sentence)
    if options.n_ctx is None and size < trained:
        sentence = f"The context is {size:,} tokens instead of the model's {trained:,}, to fit in memory."
        yield Caution(code="context-reduced", sentence=sentence)
    if size > trained and options.rope_scaling is None and options.rope_freq_scale is None:
        sentence = f"The context is {size:,} tokens, but the model was trained for {trained:,}."
        yield Caution(code="beyond-trained-context", sentence=sentence)
    if options.n_gpu_layers != 0 and not library.offloads():
        if options.n_gpu_layers or options.tensor_split or options.main_gpu is not None:
            sentence = (
                "The options request a GPU, but this build of llama.cpp cannot use one on this machine."
            )
            yield Caution(code="no-gpu", sentence=sentence)
        elif library.has_nvidia_gpu():
            sentence = "This machine has an NVIDIA GPU, but this build of llama.cpp is for the CPU only."
            yield Caution(code="no-gpu", sentence=sentence)
