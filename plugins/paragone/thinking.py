"""What the option `thinking` says: on, off, an effort, or a budget."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ThinkingChoice", "thinking_choice"]


class ThinkingChoice(NamedTuple):
    """How a reasoning model is to think before it answers. None for what is left to the model and its server."""

    enabled: bool | None = None
    """Whether it thinks."""
    effort: str | None = None
    """How much it thinks, for models with levels: `low`, `medium`, `high` …"""
    budget: int | None = None
    """Largest number of tokens of the thinking."""


def thinking_choice(value: bool | int | str | None) -> ThinkingChoice:
    """Return what a value of the option says."""
    if value is None or isinstance(value, bool):
        return ThinkingChoice(enabled=value)
    if isinstance(value, str):
        return ThinkingChoice(enabled=True, effort=value)
    return ThinkingChoice(enabled=True, budget=value)
