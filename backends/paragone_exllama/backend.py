"""The backends of ExLlamaV2 and ExLlamaV3. This module imports neither library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from paragone import Capabilities, ModelInfo
from paragone.hub import snapshot_folders
from paragone.worker import Environment, NativeBackend
from paragone_exllama.options import ExLlamaSampling, ExLlamaV2LoadOptions, ExLlamaV3LoadOptions
from paragone_exllama.pins import EXLLAMAV2, EXLLAMAV3

__all__ = ["ExLlamaV2Backend", "ExLlamaV3Backend"]


_CAPABILITIES = Capabilities(
    logprobs=True, tokenize=True, score=True, distributions=True, estimate=True, seed=True, local=True
)
_BITS = (8.0, 6.0, 5.0, 4.0, 3.0)
"""Usual bits per weight of quantized models."""


class ExLlamaV2Backend(NativeBackend):
    """EXL2, GPTQ and unquantized models in ExLlamaV2, each in its own process."""

    name = "exllamav2"
    title = "ExLlamaV2"
    api_version = 2
    load_options = ExLlamaV2LoadOptions
    sampling = ExLlamaSampling
    capabilities = _CAPABILITIES
    quantizations: ClassVar[Mapping[str, float]] = {f"EXL2 {bits:.1f} bpw": bits for bits in _BITS}
    engine: ClassVar[str] = "paragone_exllama.engine:ExLlamaV2Engine"
    install: ClassVar[str] = "Create its environment with: paragone env create exllamav2."
    environment: ClassVar[Environment | None] = EXLLAMAV2

    def model_folders(self) -> Sequence[str]:
        """Return Hugging Face's cache."""
        return snapshot_folders()

    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the models in these folders and their subfolders that ExLlamaV2 can load."""
        from paragone_exllama.model_folder.folders import find_models

        return find_models(folders, ("EXL2", "GPTQ", "plain"))


class ExLlamaV3Backend(NativeBackend):
    """EXL3 and unquantized models in ExLlamaV3, each in its own process."""

    name = "exllamav3"
    title = "ExLlamaV3"
    api_version = 2
    load_options = ExLlamaV3LoadOptions
    sampling = ExLlamaSampling
    capabilities = _CAPABILITIES
    quantizations: ClassVar[Mapping[str, float]] = {f"EXL3 {bits:.1f} bpw": bits for bits in _BITS}
    engine: ClassVar[str] = "paragone_exllama.engine:ExLlamaV3Engine"
    install: ClassVar[str] = "Create its environment with: paragone env create exllamav3."
    environment: ClassVar[Environment | None] = EXLLAMAV3

    def model_folders(self) -> Sequence[str]:
        """Return Hugging Face's cache."""
        return snapshot_folders()

    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the models in these folders and their subfolders that ExLlamaV3 can load."""
        from paragone_exllama.model_folder.folders import find_models

        return find_models(folders, ("EXL3", "plain"))
