"""The body of a chat request: https://docs.ollama.com/api/chat."""

from __future__ import annotations

from collections.abc import Mapping

from paragone import Json, RunRequest
from paragone_remote.ollama_api.options import OllamaSampling

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
    wanted: dict[str, Json] = {
        "num_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "repeat_last_n": sampling.repeat_last_n,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": sampling.seed,
        "stop": sampling.stop or None,
    }
    options = base["options"]
    assert isinstance(options, Mapping)
    body["options"] = {**options, **{name: value for name, value in wanted.items() if value is not None}}
    if sampling.effort is not None and sampling.thinking is not False:
        body["think"] = sampling.effort
    elif sampling.thinking is not None:
        body["think"] = sampling.thinking
    if request.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = min(request.logprobs, 20)
    return body
