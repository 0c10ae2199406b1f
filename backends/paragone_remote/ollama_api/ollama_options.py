"""The options of Ollama engines. This module does not import the HTTP library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paragone import Options, option
from paragone import shared_options as shared
from paragone.json_schema import check_inline_schema
from paragone_remote.endpoints.endpoint_options import EndpointOptions

DEFAULT_URL = "http://127.0.0.1:11434"

DEFAULT_CONTEXT = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaLoadOptions(EndpointOptions):
    """Options that take effect when a model is loaded."""

    url: str | None = option(
        DEFAULT_URL,
        "Address of the server, such as http://gpu-box:11434; $NAME in its path is replaced by an environment variable.",
        metavar="URL",
        address=True,
        outside="sent",
    )
    num_ctx: int | None = option(
        None,
        f"Context window in tokens, for prompt and answer; by default the model's own, {DEFAULT_CONTEXT} at "
        "most. Requests always set num_ctx, because the server's default cuts longer prompts without an error.",
        minimum=16,
        fact="context",
    )
    num_gpu: int | None = option(
        None, "Number of layers on the GPU; by default the server decides.", minimum=0
    )
    num_thread: int | None = option(
        None,
        "CPU threads that the server computes with; by default the server decides.",
        minimum=1,
        fact="threads",
    )
    num_batch: int | None = option(
        None,
        "Number of prompt tokens processed at once; by default the server decides.",
        minimum=1,
        fact="batch size",
    )
    keep_alive: str | None = option(
        None,
        "How long the server keeps the model after a run, such as 30m, or -1 for no limit. By default the "
        "server decides, and closing the engine unloads the model if this engine loaded it.",
        metavar="duration",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaSampling(Options):
    """Options that each run can set. The defaults are those of the model's Modelfile or of the server."""

    max_tokens: int | None = shared.MAX_TOKENS(None)
    temperature: float | None = shared.TEMPERATURE(None)
    top_k: int | None = shared.TOP_K(None)
    top_p: float | None = shared.TOP_P(None)
    min_p: float | None = shared.MIN_P(None)
    repeat_penalty: float | None = shared.REPEAT_PENALTY(None)
    repeat_last_n: int | None = option(
        None,
        "Number of recent tokens that the penalties apply to; -1 for the whole context.",
        minimum=-1,
        fact="penalty_last_n",
    )
    presence_penalty: float | None = shared.PRESENCE_PENALTY(None)
    frequency_penalty: float | None = shared.FREQUENCY_PENALTY(None)
    seed: int | None = shared.SEED(None)
    stop: tuple[str, ...] = shared.STOP(())
    thinking: bool | Literal["low", "medium", "high", "max"] | None = shared.THINKING(
        None, "By default the server decides."
    )
    json_schema: str | None = shared.JSON_SCHEMA(None)

    def __post_init__(self) -> None:
        """Raise InputError for an invalid schema. A schema in a file is read when a run begins."""
        check_inline_schema(self.json_schema)
