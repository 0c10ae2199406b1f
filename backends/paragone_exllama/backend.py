"""The backends of ExLlamaV2 and ExLlamaV3. This module imports neither library."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar

from paragone import Backend, Capabilities, ModelInfo, files, hooks, worker
from paragone_exllama import exllama_options
from paragone_exllama.model_folder import V2_FORMATS, V3_FORMATS, StorageFormat

_BITS = (8.0, 6.0, 5.0, 4.0, 3.0)
"""Usual bits per weight of quantized models."""


class ExLlamaV3Backend(worker.NativeBackend):
    """EXL3 and unquantized models in ExLlamaV3, each in its own process."""

    api_version = 2
    name = "exllamav3"
    title = "ExLlamaV3"
    load_options: type[exllama_options.ExLlamaLoadOptions] = exllama_options.ExLlamaLoadOptions
    quantizations: ClassVar[Mapping[str, float]] = {f"EXL3 {bits:.1f} bpw": bits for bits in _BITS}
    engine = "paragone_exllama.engine:ExLlamaV3Engine"
    install = "Create its environment with: paragone env create exllamav3."
    environment = exllama_options.EXLLAMAV3
    formats: Collection[StorageFormat] = V3_FORMATS
    sampling = exllama_options.ExLlamaSampling
    capabilities = Capabilities(
        logprobs=True,
        plain_text=True,
        token_ids=True,
        tokenize=True,
        score=True,
        distributions=True,
        estimate=True,
        seed=True,
        continues=True,
        local=True,
    )

    @classmethod
    @hooks.hookimpl
    def paragone_backends(cls) -> Iterable[Backend]:
        """Return an instance of this backend: the class itself is the registered plugin."""
        return [cls()]

    def model_folders(self) -> Sequence[str]:
        return files.snapshot_folders()

    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        from paragone_exllama.model_folder import find_models

        return find_models(folders, self.formats)


class ExLlamaV2Backend(ExLlamaV3Backend):
    """EXL2, GPTQ and unquantized models in ExLlamaV2, each in its own process."""

    name = "exllamav2"
    title = "ExLlamaV2"
    load_options = exllama_options.ExLlamaV2LoadOptions
    quantizations: ClassVar[Mapping[str, float]] = {f"EXL2 {bits:.1f} bpw": bits for bits in _BITS}
    engine = "paragone_exllama.engine:ExLlamaV2Engine"
    install = "Create its environment with: paragone env create exllamav2."
    environment = exllama_options.EXLLAMAV2
    formats = V2_FORMATS
