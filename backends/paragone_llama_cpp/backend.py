"""The llama.cpp backend and its options. This module does not import the library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from paragone import Backend, Capabilities, Json, ModelInfo, option
from paragone.crash_causes import WITHOUT_AMX, amx_miscompiled
from paragone.gguf import N_BATCH, N_CTX, N_GPU_LAYERS, GgufLoadOptions
from paragone.hooks import hookimpl
from paragone.json_values import check_inline_schema
from paragone.options import build
from paragone.shared_options import IGNORE_EOS, JSON_SCHEMA, PENALTY_LAST_N, THINKING_BUDGET, SamplingOptions
from paragone.worker import NativeBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppLoadOptions(GgufLoadOptions):
    """Options that take effect when a model is loaded."""

    n_ctx: int | None = N_CTX(
        None, "By default the model's own context, or as much of it as fits in a quarter of the free memory."
    )
    n_gpu_layers: int | None = N_GPU_LAYERS(None, "By default all layers, if the library can use a GPU.")
    n_cpu_moe: int = option(
        0,
        "Number of first layers whose experts stay in main memory and are computed on the CPU, for mixtures of "
        "experts that do not fit on the GPU.",
        minimum=0,
        maximum=10_000,
    )
    n_batch: int | None = N_BATCH(None, "By default 128 tokens, or 512 with layers on a GPU.")
    rope_scaling: Literal["none", "linear", "yarn", "longrope"] | None = option(
        None, "Scaling of positions beyond the trained context; by default the model's."
    )
    rope_freq_base: float | None = option(None, "Base frequency of RoPE; by default the model's.", minimum=0)
    rope_freq_scale: float | None = option(
        None, "Frequency scale of RoPE, such as 0.5 for twice the context; by default the model's.", minimum=0
    )
    yarn_orig_ctx: int | None = option(
        None,
        "Context that the model was trained for before YaRN scaling; by default the model's.",
        minimum=0,
        maximum=1 << 24,
    )
    build: Literal["native", "prebuilt"] | None = option(
        None,
        "Build of llama.cpp: native (llama-cpp-python, compiled for this machine) or prebuilt (xllamacpp, for any "
        "machine); by default native if it is installed. Texts of two builds can differ.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppSampling(SamplingOptions):
    """Options that each run can set."""

    thinking: bool | Literal["low", "medium", "high"] | int | None = THINKING_BUDGET(  # type: ignore[assignment]
        None, "By default the model's chat template decides."
    )
    penalty_last_n: int = PENALTY_LAST_N(64, "Tokens of the prompt do not count as recent tokens.")
    ignore_eos: bool = IGNORE_EOS(False)
    grammar: str | None = option(
        None,
        "GBNF grammar that the answer must follow: the text itself, or @PATH of a file.",
        metavar="text or @path",
        outside="text or file",
    )
    json_schema: str | None = JSON_SCHEMA(
        None,
        "Objects may have properties that the schema does not name, unless it sets additionalProperties to false.",
    )

    def __post_init__(self) -> None:
        """Raise InputError for an invalid schema. A schema in a file is read when a run begins."""
        check_inline_schema(self.json_schema)


FLAGS_WITHOUT_AMX = f"CFLAGS={WITHOUT_AMX} CXXFLAGS={WITHOUT_AMX}"
"""Environment variables for compiling llama.cpp without ggml's AMX code."""

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
    """GGUF models in llama.cpp, each in its own process."""

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
        """Return the caches of llama.cpp and Hugging Face, and the folders of LM Studio."""
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
