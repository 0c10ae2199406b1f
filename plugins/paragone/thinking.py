"""The values of the option `thinking`: on, off, an effort, or a budget."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

__all__ = ["Thinking", "ThinkingChoice", "thinking_choice"]

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
    """Return what a value of the option `thinking` asks for."""
    if value is None or isinstance(value, bool):
        return ThinkingChoice(enabled=value)
    if isinstance(value, str):
        return ThinkingChoice(enabled=True, effort=value)
    return ThinkingChoice(enabled=True, budget=value)
