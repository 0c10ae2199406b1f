"""The parrot's options. The application and the worker import this module."""

from dataclasses import dataclass

from paragone import Options, option


@dataclass(frozen=True, slots=True, kw_only=True)
class ParrotLoad(Options):
    """Options that take effect when a model is opened."""

    encoding: str = option("utf-8", "Encoding of the model's file.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParrotSampling(Options):
    """Options that each run can set."""

    max_tokens: int = option(50, "Words in an answer.", minimum=1)
    seed: int | None = option(
        None, "Seed of the random numbers; by default a new one for each run.", minimum=0
    )
    words_per_s: float = option(1000.0, "Words per second.", minimum=0.1)
