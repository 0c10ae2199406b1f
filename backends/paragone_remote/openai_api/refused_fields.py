"""What a server does not take, learned from its refusals and remembered for as long as the program runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from paragone import Json
from paragone_remote.transport import Refusal

__all__ = ["EXTRAS", "Habits"]

EXTRAS = {
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "repetition_penalty": "repeat_penalty",
    "chat_template_kwargs": "thinking",
    "reasoning_effort": "effort",
    "logprobs": "log-probabilities",
    "top_logprobs": "log-probabilities",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "stream_options": "",
    "return_progress": "",
    "timings_per_token": "",
    "cache_prompt": "",
    "continue_final_message": "",
    "add_generation_prompt": "",
}
"""Fields that a server may refuse, and what the user knows each by; nothing for those that only we want."""

_LEARNS_FROM = {400, 422, 500, 501}
"""llama-cpp-python says 500 where log-probabilities were not asked for when it was started."""

_TOGETHER = {"logprobs": {"top_logprobs"}, "top_logprobs": {"logprobs"}}


@dataclass(slots=True)
class Habits:
    """What one endpoint has refused."""

    refused: set[str] = field(default_factory=set)

    def has_refused(self, name: str) -> bool:
        """Say whether a field was refused before."""
        return name in self.refused

    def take_out(self, body: Mapping[str, Json]) -> dict[str, Json]:
        """Return a request's body without what was refused before."""
        return {name: value for name, value in body.items() if name not in self.refused}

    def learn(self, refusal: Refusal, body: Mapping[str, Json]) -> bool:
        """Note which of the extras in `body` a refusal is about; say whether asking again without them makes sense."""
        if refusal.status not in _LEARNS_FROM:
            return False
        sent = [name for name in EXTRAS if name in body]
        named = {name for name in sent if re.search(rf"\b{name}\b", refusal.body)}
        for name in tuple(named):
            named |= _TOGETHER.get(name, set())
        self.refused |= named
        return bool(named)

    def left_out(self, body: Mapping[str, Json]) -> list[str]:
        """Return what the user asked for in `body` and the server refuses, as the user knows it."""
        return sorted({EXTRAS[name] for name in body if name in self.refused} - {""})
