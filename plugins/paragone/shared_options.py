"""Options that several backends have, each declared once (except for its default), and the values of the option `thinking`."""

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from paragone.options import Options, option
from paragone.wire import Json

# Sampling options

MAX_TOKENS = partial(
    option,
    doc="Largest number of tokens in the answer; by default up to the end of the context.",
    minimum=1,
    maximum=2**31 - 1,
)
TEMPERATURE = partial(
    option,
    doc="Sampling temperature: 0 always picks the most likely token, higher values are more random.",
    minimum=0,
    maximum=100,
)
TOP_K = partial(
    option, doc="Sample from this many of the most likely tokens; 0 for all.", minimum=0, maximum=2**31 - 1
)
TOP_P = partial(
    option,
    doc="Sample from the most likely tokens whose probabilities add up to this value; 1 for all.",
    minimum=0,
    maximum=1,
)
MIN_P = partial(
    option,
    doc="Exclude tokens whose probability is below this fraction of the most likely token's; 0 excludes none.",
    minimum=0,
    maximum=1,
)
REPEAT_PENALTY = partial(
    option, doc="Divides the logits of recent tokens; 1 for no penalty.", minimum=0.01, maximum=100
)
PRESENCE_PENALTY = partial(
    option, doc="Subtracted once from the logit of each recent token.", minimum=-100, maximum=100
)
FREQUENCY_PENALTY = partial(
    option,
    doc="Subtracted from the logit of each recent token once per occurrence.",
    minimum=-100,
    maximum=100,
)
SEED = partial(option, doc="Random seed; by default a new seed for each run.", minimum=0, maximum=2**32 - 2)
STOP = partial(option, doc="Stop sequences: they end the answer and are excluded from it.")
THINKING = partial(option, doc="Whether a reasoning model thinks, or with what effort.")
THINKING_BUDGET = partial(
    option,
    doc="Whether a reasoning model thinks, with what effort, or for how many tokens at most.",
    minimum=1,
)
PENALTY_LAST_N = partial(
    option,
    doc="Number of recent tokens, of the prompt and the answer, that the penalties apply to.",
    minimum=0,
    maximum=1_000_000,
)
JSON_SCHEMA = partial(
    option,
    doc="JSON Schema that the answer must follow: the JSON itself, or @PATH of a file.",
    metavar="text or @path",
    outside="text or file",
)
IGNORE_EOS = partial(
    option,
    doc="Continue after the model's end-of-text token, up to max_tokens, a stop sequence or the end of the context.",
)

# Load options

LORA_SCALE = partial(option, doc="Strength of the LoRA adapter.")
CHAT_TEMPLATE = partial(
    option,
    doc="Jinja chat template to use instead of the model's: the text itself, or @PATH of a file; "
    "with an empty template the model continues the plain text of the messages.",
    metavar="text or @path",
    outside="text or file",
    same_answers="The prompts that the templates make are compared.",
)


Thinking: TypeAlias = bool | int | str | None
"""A value of the option `thinking`: whether the model thinks, a largest number of tokens, an effort, or None."""


class ThinkingChoice(NamedTuple):
    """How a reasoning model is to think before it answers. The model or its server decides each field that is None."""

    enabled: bool | None = None
    """Whether the model thinks."""
    effort: str | None = None
    """How much the model thinks, for models with several degrees of effort: `low`, `medium`, `high` …"""
    budget: int | None = None
    """Largest number of thinking tokens."""


def thinking_choice(value: Thinking) -> ThinkingChoice:
    """Return the choice that a value of the option `thinking` means."""
    if value is None or isinstance(value, bool):
        return ThinkingChoice(enabled=value)
    if isinstance(value, str):
        return ThinkingChoice(enabled=True, effort=value)
    return ThinkingChoice(enabled=True, budget=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions(Options):
    """Options that each run can set. An engine's subclass adds its own options."""

    max_tokens: int | None = MAX_TOKENS(None)
    temperature: float = TEMPERATURE(0.8)
    top_k: int = TOP_K(40)
    top_p: float = TOP_P(0.95)
    min_p: float = MIN_P(0.05)
    repeat_penalty: float = REPEAT_PENALTY(1.0)
    presence_penalty: float = PRESENCE_PENALTY(0.0)
    frequency_penalty: float = FREQUENCY_PENALTY(0.0)
    seed: int | None = SEED(None, note="The same seed gives the same answer.")
    stop: tuple[str, ...] = STOP(())
    thinking: bool | Literal["low", "medium", "high"] | None = THINKING(
        None, note="By default the model's chat template decides."
    )


SEEDS = 2**32 - 1
"""The number of seeds: seeds are the integers from 0 to SEEDS − 1."""
SamplingT = TypeVar("SamplingT", bound=SamplingOptions)


def with_seed(sampling: SamplingT, drawn: int | None = None) -> SamplingT:
    """Return the options with a seed: the seed of `sampling`, or else `drawn`, or, if both are None, a random seed."""
    if sampling.seed is not None:
        return sampling
    return dataclasses.replace(sampling, seed=draw_seed() if drawn is None else drawn)


def draw_seed() -> int:
    """Return a random seed."""
    return secrets.randbelow(SEEDS)


_RANDOM = frozenset({"top_k", "top_p", "min_p", "seed"})
"""Options that affect only random choices."""
_PENALTIES: Mapping[str, Json] = {"repeat_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""The penalties, and the values that turn them off."""


def without_effect(sampling: Mapping[str, Json]) -> frozenset[str]:
    """Return the names of active options that have no effect on the answer.

    `sampling` has values by option name. At temperature 0 the most likely token is always chosen, so random
    choices have no effect. Without penalties, their window `penalty_last_n` has no effect.
    """
    idle = _RANDOM if sampling.get("temperature") == 0 else frozenset[str]()
    if all(sampling.get(name, off) == off for name, off in _PENALTIES.items()):
        idle |= {"penalty_last_n"}
    return idle & sampling.keys()
