"""The options of the paced backend."""

from dataclasses import dataclass

from paragone import Options, option


@dataclass(frozen=True, slots=True, kw_only=True)
class PacedSampling(Options):
    rate: float = option(50.0, "Tokens per second.", minimum=0.1)
    max_tokens: int = option(400, "Tokens to send.", minimum=1)
