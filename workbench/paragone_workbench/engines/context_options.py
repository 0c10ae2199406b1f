"""The options that every engine has, for conversations that are longer than the context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from paragone import Json, Options, option
from paragone.options import build, describe


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions(Options):
    """Options that the application applies before it sends a prompt. These options need an engine that counts tokens."""

    overflow: Literal["error", "drop_oldest", "keep_last"] = option(
        "error",
        "If the conversation exceeds the context: refuse the prompt, leave out the oldest turns, or keep only the last "
        "turns. The system prompt is always kept. An engine that cannot count tokens beforehand gets all turns.",
    )
    keep_turns: int = option(
        4, "Number of earlier turns that overflow = keep_last keeps.", minimum=0, maximum=10_000
    )


def split_context_options(values: Mapping[str, Json]) -> tuple[ContextOptions, dict[str, Json]]:
    """Split options that take effect with each run into context options and options of the engine's backend."""
    names = {info.name for info in describe(ContextOptions)}
    own = {name: value for name, value in values.items() if name in names}
    return build(ContextOptions, own), {name: value for name, value in values.items() if name not in names}
