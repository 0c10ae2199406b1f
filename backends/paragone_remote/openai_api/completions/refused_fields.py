"""Request fields that a server refuses: learned from the server's errors, and kept while the program runs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from paragone import Json
from paragone.options import describe
from paragone_remote.http.transport import Refusal
from paragone_remote.openai_api.completions.requests import BUDGETS
from paragone_remote.openai_api.openai_options import OpenAISampling

_ALWAYS_SENT = {"max_tokens", "temperature", "top_p", "stop", "ignore_eos", "json_schema"}
"""Options that change the answer too much to be left out: if a server refuses such an option, the run fails."""

EXTRAS = {
    **{info.name: info.name for info in describe(OpenAISampling) if info.name not in _ALWAYS_SENT},
    "repetition_penalty": "repeat_penalty",
    "chat_template_kwargs": "thinking",
    "reasoning_effort": "thinking",
    **dict.fromkeys(BUDGETS.values(), "thinking"),
    "logprobs": "log-probabilities",
    "top_logprobs": "log-probabilities",
    "stream_options": "",
    "return_progress": "",
    "timings_per_token": "",
    "cache_prompt": "",
    "continue_final_message": "continuing an answer",
    "add_generation_prompt": "",
    "response_prefix": "continuing an answer",
}
"""Fields that a server may refuse, with the names of their options. The name is empty for a field that this program adds."""

_LEARNS_FROM = {400, 422, 500, 501}
"""HTTP statuses with which servers refuse a field.

llama-cpp-python sends 500 if it was started without support for log-probabilities.
"""

_TOGETHER = {"logprobs": {"top_logprobs"}, "top_logprobs": {"logprobs"}}


class RefusedFields(set[str]):
    """The names of the fields that one endpoint has refused."""

    def without_refused(self, body: Mapping[str, Json]) -> dict[str, Json]:
        """Return a request's body without the refused fields."""
        return {name: value for name, value in body.items() if name not in self}

    def learn(self, refusal: Refusal, body: Mapping[str, Json]) -> bool:
        """Add the extra fields of `body` that a refusal names. Returns whether the refusal names such a field."""
        if refusal.status not in _LEARNS_FROM:
            return False
        sent = [name for name in EXTRAS if name in body]
        named = {name for name in sent if re.search(rf"\b{name}\b", refusal.body)}
        for name in tuple(named):
            named |= _TOGETHER.get(name, set())
        self.update(named)
        return bool(named)

    def left_out(self, body: Mapping[str, Json]) -> list[str]:
        """Return the user-visible names of the fields in `body` that the server refuses."""
        return sorted({EXTRAS[name] for name in body if name in self} - {""})
