"""The specification of a run: its request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone import Json, Message, RunRequest

if TYPE_CHECKING:
    from paragone import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec(RunRequest):
    """One request to an engine, independent of lanes and conversations.

    If `threads` is None, the run gets the number of CPU threads that the schedule gives the run's turn. The engine's
    sampling options apply where `sampling` has no value. Unless `logprobs` is None, the run's result keeps the tokens.
    """

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
