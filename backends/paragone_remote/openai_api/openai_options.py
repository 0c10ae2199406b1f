"""The options of engines on OpenAI-compatible servers. This module does not import the HTTP library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from paragone import Options, option
from paragone import shared_options as shared
from paragone.json_schema import check_inline_schema
from paragone_remote.endpoints.endpoint_options import EndpointOptions

_EXTRA = "Not every server supports this option."


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAILoadOptions(EndpointOptions):
    """Options that take effect when a model at an endpoint is opened."""

    default_path: ClassVar[str] = "/v1"
    raw: bool | None = option(
        None,
        "Continue the plain text of the messages, for models without a chat template; by default on if the "
        "server reports that the model has none.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISampling(Options):
    """Options that each run can set. Options that are not set are not sent; the server uses its defaults."""

    max_tokens: int | None = shared.MAX_TOKENS(None)
    temperature: float | None = shared.TEMPERATURE(None)
    top_p: float | None = shared.TOP_P(None)
    presence_penalty: float | None = replace(shared.PRESENCE_PENALTY, minimum=-2, maximum=2)(None)
    frequency_penalty: float | None = replace(shared.FREQUENCY_PENALTY, minimum=-2, maximum=2)(None)
    seed: int | None = shared.SEED(None, "Not every server uses the seed.")
    stop: tuple[str, ...] = shared.STOP(())
    top_k: int | None = shared.TOP_K(None, _EXTRA)
    min_p: float | None = shared.MIN_P(None, _EXTRA)
    repeat_penalty: float | None = shared.REPEAT_PENALTY(None, _EXTRA)
    ignore_eos: bool | None = shared.IGNORE_EOS(None, _EXTRA)
    thinking: bool | Literal["minimal", "low", "medium", "high"] | int | None = shared.THINKING_BUDGET(
        None, _EXTRA
    )
    json_schema: str | None = shared.JSON_SCHEMA(None, "A server without this feature rejects the prompt.")

    def __post_init__(self) -> None:
        """Raise InputError for an invalid schema. A schema in a file is read when a run begins."""
        check_inline_schema(self.json_schema)
