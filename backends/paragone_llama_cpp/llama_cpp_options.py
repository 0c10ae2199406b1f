"""The options of llama.cpp, without pluggy: workers in any interpreter import them."""

from dataclasses import dataclass
from typing import Literal

from paragone import crash_causes, gguf, json_values, option, shared_options


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppLoadOptions(gguf.GgufLoadOptions):
    n_ctx: int | None = gguf.N_CTX(
        None,
        note="By default the model's own context, or as much of it as fits in a quarter of the free memory.",
    )
    n_gpu_layers: int | None = gguf.N_GPU_LAYERS(
        None, note="By default all layers, if the library can use a GPU."
    )
    n_cpu_moe: int = option(
        0,
        "Number of first layers whose experts stay in main memory and are computed on the CPU, for mixtures of "
        "experts that do not fit on the GPU.",
        minimum=0,
        maximum=10_000,
    )
    n_batch: int | None = gguf.N_BATCH(None, note="By default 128 tokens, or 512 with layers on a GPU.")
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
        same_answers="What the engines report of their builds is compared.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppSampling(shared_options.SamplingOptions):
    thinking: bool | Literal["low", "medium", "high"] | int | None = shared_options.THINKING_BUDGET(  # type: ignore[assignment]
        None, note="By default the model's chat template decides."
    )
    penalty_last_n: int = shared_options.PENALTY_LAST_N(64)
    ignore_eos: bool = shared_options.IGNORE_EOS(False)
    grammar: str | None = option(
        None,
        "GBNF grammar that the answer must follow: the text itself, or @PATH of a file.",
        metavar="text or @path",
        outside="text or file",
    )
    json_schema: str | None = shared_options.JSON_SCHEMA(
        None,
        note="Objects may have properties that the schema does not name, unless it sets additionalProperties to false.",
    )

    def __post_init__(self) -> None:
        """Raise InputError for an invalid schema. A schema in a file is read when a run begins."""
        json_values.check_inline_schema(self.json_schema)


FLAGS_WITHOUT_AMX = f"CFLAGS={crash_causes.WITHOUT_AMX} CXXFLAGS={crash_causes.WITHOUT_AMX}"
"""Environment variables for compiling llama.cpp without ggml's AMX code."""
