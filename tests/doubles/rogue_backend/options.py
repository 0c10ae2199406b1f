"""The options of the rogue backend, seen by the application and the worker."""

from dataclasses import dataclass

from paragone import Options, option


@dataclass(frozen=True, slots=True, kw_only=True)
class RogueLoad(Options):
    load_s: float = option(0.0, "Seconds that loading takes.", minimum=0)
    context: int = option(4096, "Context window, in tokens.", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RogueSampling(Options):
    max_tokens: int = option(20, "Words to answer with.", minimum=0)
    rate: float = option(1000.0, "Words per second.", minimum=0.001)
    prefill_s: float = option(0.0, "Seconds that reading the prompt takes.", minimum=0)
    at: int = option(5, "Word before which the failure strikes.", minimum=0)
