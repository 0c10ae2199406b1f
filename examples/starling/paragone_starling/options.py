"""The options of starling engines."""

from dataclasses import dataclass

from paragone import Options, option
from paragone.shared_options import SamplingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class StarlingLoad(Options):
    """Options that take effect when a model is opened."""

    n_ctx: int = option(32768, "Context window in tokens, prompt and answer together.", minimum=16)
    n_threads: int | None = option(
        None, "CPU threads; by default this engine's share of the cores.", minimum=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StarlingSampling(SamplingOptions):
    """The common options, and one that only starlings have."""

    mimicry: float = option(1.0, "How closely it follows its model; 0 for not at all.", minimum=0, maximum=1)
