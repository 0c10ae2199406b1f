"""The llama.cpp backend, as the application sees it: no library is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from paragone import Capabilities, ModelInfo
from paragone.worker import NativeBackend
from paragone_llama_cpp.options import LlamaCppLoadOptions, LlamaCppSampling

__all__ = ["LlamaCppBackend"]


class LlamaCppBackend(NativeBackend):
    """GGUF models in llama.cpp, each in a process of its own."""

    name = "llama_cpp"
    title = "llama.cpp"
    load_options = LlamaCppLoadOptions
    sampling = LlamaCppSampling
    capabilities = Capabilities(logprobs=True, score=True, count=True, local=True)
    engine: ClassVar[str] = "paragone_llama_cpp.engine:LlamaCppEngine"

    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the GGUF models in these folders and below."""
        from paragone_llama_cpp.models import find_models

        return find_models(folders)
