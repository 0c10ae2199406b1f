"""Decides which lanes keep the tokens of their answers, with their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.engines.handle import EngineHandle
    from paragone_workbench.lanes.lane import Lane

__all__ = ["ALTERNATIVES", "KeptTokens"]

ALTERNATIVES = 5
"""Number of alternatives that are kept with each token."""


class KeptTokens:
    """Which of these lanes keep tokens.

    Engines on this machine do while there are two lanes or more: it costs them 0.1 ms a token. It costs
    servers more, so that they do only once they are `wanted`.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.wanted = False
        """Whether all lanes keep the tokens of their answers, beside the text."""
        self._lanes = lanes

    def asked_of(self, engine: EngineHandle) -> int | None:
        """Return the number of alternatives that a run of an engine asks for; None to keep no tokens."""
        kept = self.wanted or (engine.is_local and len(self._lanes) > 1)
        return ALTERNATIVES if kept and engine.capabilities.logprobs else None
