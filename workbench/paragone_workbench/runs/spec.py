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
    """The conversation so far, oldest first. If the last message is the assistant's, the answer goes on from its end."""
    text: str = ""
    """Without messages: a plain text that the answer continues."""
    ids: tuple[int, ...] = ()
    """Without messages and text: the tokens that the answer continues."""
    sampling: Mapping[str, Json] = field(default_factory=dict)
    """Sampling options, which override those of the engine's definition."""
    logprobs: int | None = None
    """Number of alternatives to report with each token; 0 for only the token's own log-probability,
    None for no log-probabilities.

    The run's record keeps the tokens if this is not None.
    """
    cold: bool = False
    """Do not reuse the KV cache."""
    bare: bool = False
    """Send this request to a server, and no others about the run: they would distort the measurement."""
    threads: int | None = None
    """CPU threads; None for the number that the run's turn gives."""
    prompt_ids: bool = False
    """Report the token ids of the rendered prompt."""
    drawn_seed: int | None = None
    """The seed to use where the engine would draw one, so that several engines draw alike; None to let each draw its own."""
    left_out: int | None = None
    """Number of the oldest messages to leave out, as a recorded run did; None to do as the engine's options say."""

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
