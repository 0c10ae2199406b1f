"""Options that several backends have, each declared once.

A backend declares its option with its own default, and with a note on its own behaviour:

    temperature: float | None = TEMPERATURE(None)
    min_p: float = MIN_P(0.05, "Not every server supports it.")
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar

from paragone.options import Outside, option

__all__ = [
    "CHAT_TEMPLATE", "FREQUENCY_PENALTY", "IGNORE_EOS", "JSON_SCHEMA", "LORA_SCALE", "MAX_TOKENS",
    "MIN_P", "PENALTY_LAST_N", "PRESENCE_PENALTY", "REPEAT_PENALTY", "SEED", "STOP", "TEMPERATURE", "THINKING", "THINKING_BUDGET", "TOP_K", "TOP_P",
    "SharedOption",
]  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SharedOption:
    """The declaration of an option: the arguments of `paragone.options.option` without the default."""

    doc: str
    minimum: float | None = None
    maximum: float | None = None
    metavar: str = ""
    fact: str = ""
    outside: Outside = ""

    def __call__(self, default: T, note: str = "") -> T:
        """Declare a field of a backend's options. `note` is a sentence to add to the doc."""
        details = {**dataclasses.asdict(self), "doc": f"{self.doc} {note}".rstrip()}
        return option(default, **details)


# Sampling options

MAX_TOKENS = SharedOption(
    "Largest number of tokens in the answer; by default up to the end of the context.",
    minimum=1,
    maximum=2**31 - 1,
)
TEMPERATURE = SharedOption(
    "Sampling temperature: 0 always picks the most likely token, higher values are more random.",
    minimum=0,
    maximum=100,
)
TOP_K = SharedOption(
    "Sample from this many of the most likely tokens; 0 for all.", minimum=0, maximum=2**31 - 1
)
TOP_P = SharedOption(
    "Sample from the most likely tokens whose probabilities add up to this value; 1 for all.",
    minimum=0,
    maximum=1,
)
MIN_P = SharedOption(
    "Leave out tokens whose probability is below this fraction of the most likely token's; 0 for none.",
    minimum=0,
    maximum=1,
)
REPEAT_PENALTY = SharedOption(
    "Divides the logits of recent tokens; 1 for no penalty.", minimum=0.01, maximum=100
)
PRESENCE_PENALTY = SharedOption(
    "Subtracted once from the logit of each recent token.", minimum=-100, maximum=100
)
FREQUENCY_PENALTY = SharedOption(
    "Subtracted from the logit of each recent token once per occurrence.", minimum=-100, maximum=100
)
SEED = SharedOption("Random seed; by default a new seed for each run.", minimum=0, maximum=2**32 - 2)
STOP = SharedOption("Stop sequences: they end the answer and are excluded from it.")
THINKING = SharedOption("Whether a reasoning model thinks, or with what effort.")
THINKING_BUDGET = SharedOption(
    "Whether a reasoning model thinks, with what effort, or for how many tokens at most.", minimum=1
)
PENALTY_LAST_N = SharedOption(
    "Number of recent tokens that the penalties apply to.", minimum=0, maximum=1_000_000
)
JSON_SCHEMA = SharedOption(
    "JSON Schema that the answer must follow: the JSON itself, or @PATH of a file.",
    metavar="text or @path",
    outside="text or file",
)
IGNORE_EOS = SharedOption(
    "Go on after the model's end-of-text token, up to max_tokens, a stop sequence or the end of the context."
)

# Load options

LORA_SCALE = SharedOption("Strength of the LoRA adapter.")
CHAT_TEMPLATE = SharedOption(
    "Jinja chat template to use instead of the model's: the text itself, or @PATH of a file; "
    "with an empty template the model continues the plain text of the messages.",
    metavar="text or @path",
    outside="text or file",
)
