"""The specification of a run: its request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone import Json, Message

if TYPE_CHECKING:
    from paragone import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One request to an engine, independent of lanes and conversations."""

    messages: tuple[Message, ...]
    """The conversation so far, oldest message first. The answer continues the last message if it is the assistant's."""
    text: str = ""
    """A plain text that the answer continues, if there are no messages."""
    ids: tuple[int, ...] = ()
    """The tokens that the answer continues, if there are no messages and no text."""
    sampling: Mapping[str, Json] = field(default_factory=dict)
    """Sampling options, which override the options of the engine's definition."""
    logprobs: int | None = None
    """Number of alternatives to report with each token; 0 for only the token's own log-probability,
    None for no log-probabilities.

    Unless this is None, the run's result keeps the tokens.
    """
    cold: bool = False
    """Do not reuse the KV cache."""
    bare: bool = False
    """Send a server only this request, because further requests about the run would distort a measurement."""
    threads: int | None = None
    """Number of CPU threads; None for the number that the schedule gives the run's turn."""
    prompt_ids: bool = False
    """Report the token ids of the rendered prompt."""
    drawn_seed: int | None = None
    """The seed for an engine that would draw a seed itself, so that several engines draw alike; None lets the engine draw."""
    left_out: int | None = None
    """Number of the oldest messages to leave out, as in a recorded run; None to let the engine's options decide."""

    @classmethod
    def of_prompt(
        cls,
        text: str,
        *,
        images: Sequence[Image] = (),
        system: str = "",
        sampling: Mapping[str, Json] | None = None,
        logprobs: int | None = None,
    ) -> RunSpec:
        """Return the spec of a single prompt without a previous conversation."""
        messages = [Message(role="system", text=system)] if system else []
        messages.append(Message(role="user", text=text, images=tuple(images)))
        return cls(messages=tuple(messages), sampling=sampling or {}, logprobs=logprobs)
