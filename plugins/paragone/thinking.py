"""The values of the option `thinking`: on, off, an effort, or a budget."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

__all__ = ["Thinking", "ThinkingChoice", "thinking_choice"]

Thinking: TypeAlias = bool | int | str | None
"""A value of the option: whether the model thinks, the number of tokens at most, an effort, or None if it is not set."""


class ThinkingChoice(NamedTuple):
    """How a reasoning model is to think before it answers. The model or its server decides each field that is None."""

    enabled: bool | None = None
    """Whether it thinks."""
    effort: str | None = None
    """How much it thinks, for models with levels: `low`, `medium`, `high` …"""
    budget: int | None = None
    """Largest number of tokens of the thinking."""


def thinking_choice(value: Thinking) -> ThinkingChoice:
    """Return the choice that a value of the option `thinking` stands for."""
    if value is None or isinstance(value, bool):
        return ThinkingChoice(enabled=value)
    if isinstance(value, str):
        return ThinkingChoice(enabled=True, effort=value)
    return ThinkingChoice(enabled=True, budget=value)
