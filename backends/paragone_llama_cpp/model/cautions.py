"""Cautions that apply to every run of an open model."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import Caution
from paragone_llama_cpp.build import library
from paragone_llama_cpp.c_api.functions import lib
from paragone_llama_cpp.model.opening import OpenModel

__all__ = ["cautions"]


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
