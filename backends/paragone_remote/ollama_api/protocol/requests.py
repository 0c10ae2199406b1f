"""The body of a chat request: https://docs.ollama.com/api/chat."""

from __future__ import annotations

from collections.abc import Mapping

from paragone import Json, RunRequest
from paragone_remote.ollama_api.options import OllamaSampling
from paragone_remote.ollama_api.protocol.parameters import sent_parameters

__all__ = ["make_body"]


def make_body(base: Mapping[str, Json], request: RunRequest, sampling: OllamaSampling) -> dict[str, Json]:
    """Return the body. `base` has the fields that all requests of an engine share."""
    messages: list[Json] = []
    for message in request.messages:
        turn: dict[str, Json] = {"role": message.role, "content": message.text}
        if message.thinking:
            turn["thinking"] = message.thinking
        if message.images:
            turn["images"] = [image.data for image in message.images]
        messages.append(turn)
    body: dict[str, Json] = {**base, "messages": messages}
    options = base["options"]
    assert isinstance(options, Mapping)
    body["options"] = {**options, **sent_parameters(sampling)}
    if sampling.effort is not None and sampling.thinking is not False:
        body["think"] = sampling.effort
    elif sampling.thinking is not None:
        body["think"] = sampling.thinking
    if request.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = min(request.logprobs, 20)
    return body
