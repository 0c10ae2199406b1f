"""The parts of answers: pieces, and an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from paragone import Channel, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of an answer, or of the prompt that the client wants repeated before the answer."""

    index: int
    """The index of the answer among the answers to the request."""
    text: str
    channel: Channel = "answer"
    tokens: tuple[Token, ...] = ()
    """The tokens of the piece, if the request asks for log-probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of an answer."""

    index: int
    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int = 0
    ttft_s: float | None = None
    """Seconds to the first token; None if nothing was generated."""


Part: TypeAlias = Piece | End
