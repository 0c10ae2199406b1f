"""The llama.cpp backend. This module does not import the library."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from paragone import Backend, Capabilities, Json, ModelInfo
from paragone.crash_causes import amx_miscompiled
from paragone.hooks import hookimpl
from paragone.options import build
from paragone.worker import NativeBackend
from paragone_llama_cpp.llama_cpp_options import FLAGS_WITHOUT_AMX, LlamaCppLoadOptions, LlamaCppSampling

CRASH_CAUSES = (
    amx_miscompiled(
        "the Intel AMX code in its llama.cpp",
        f"Compile llama.cpp again without AMX: in a clone of paragone, `make native`; elsewhere, {FLAGS_WITHOUT_AMX} pip "
        "install --force-reinstall --no-deps --no-cache-dir llama-cpp-python. Or set the engine's option build to "
        "prebuilt.",
    ),
)


QUANTIZATIONS: Mapping[str, float] = {
    "Q8_0": 8.50, "Q6_K": 6.56, "Q5_K_M": 5.70, "Q4_K_M": 4.89, "IQ4_XS": 4.46, "Q3_K_M": 4.00, "IQ3_XXS": 3.25,
    "Q2_K": 3.16, "IQ2_XXS": 2.38,
}  # fmt: skip
"""Bits per weight of Llama-3.1-8B, from llama.cpp's tools/quantize/README.md. Larger models have slightly fewer bits."""


class LlamaCppBackend(NativeBackend):
    name = "llama_cpp"
    title = "llama.cpp"
    api_version = 2
    load_options = LlamaCppLoadOptions
    sampling = LlamaCppSampling
    capabilities = Capabilities(
        logprobs=True,
        plain_text=True,
        token_ids=True,
        tokenize=True,
        score=True,
        distributions=True,
        embeddings=True,
        estimate=True,
        seed=True,
        continues=True,
        local=True,
    )
    quantizations = QUANTIZATIONS
    engine: ClassVar[str] = "paragone_llama_cpp.engine:LlamaCppEngine"
    crash_causes = CRASH_CAUSES

    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        from paragone.gguf import find_models

        return find_models(folders)

    def model_folders(self) -> Sequence[str]:
        from paragone.gguf import usual_folders

        return usual_folders()

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        return build(self.load_options, options, owner=self.title).rpc_servers

    async def demo(self, cache: str, *, create: bool = True) -> Sequence[ModelInfo]:
        """Return two small models for the demo. With `create`, puts the files of the models into the folder `cache`."""
        from paragone_llama_cpp.demo import demo_models, existing_models

        return await demo_models(Path(cache)) if create else existing_models(Path(cache))


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    return [LlamaCppBackend()]
