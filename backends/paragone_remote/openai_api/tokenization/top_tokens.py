"""The likeliest tokens at the positions of a given sequence, from llama-server.

llama-server reports the likeliest tokens only for tokens that it generates. Therefore each position takes a request
for one token; the tokens before the position are in the KV cache (`/completion` in llama.cpp's tools/server/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Alternative, EngineError, Json
from paragone.json_fields import objects_at
from paragone_remote.answers.token_events import scored_tokens
from paragone_remote.http.replies import data_of
from paragone_remote.http.transport import EndpointClient
from paragone_remote.openai_api.servers.server import ServerProperties


def reports_top_tokens(server: ServerProperties) -> bool:
    """Whether a server reports the likeliest tokens after a sequence of token ids."""
    return server.kind == "llama-server"


async def top_tokens_after(
    http: EndpointClient, model: str, ids: Sequence[int], top: int
) -> tuple[Alternative, ...]:
    """Return the likeliest tokens after `ids`, the likeliest first.

    Raises EngineError if the server reports no tokens, or the exceptions in `faults.FAULTS`.
    """
    body: dict[str, Json] = {
        "model": model,
        "prompt": list(ids),
        "n_predict": 1,
        "n_probs": top,
        "temperature": 0,
        "cache_prompt": True,
    }
    reply = await http.post(f"{http.endpoint.root}/completion", json=body)
    generated = next(scored_tokens(objects_at(data_of(reply), "completion_probabilities")), None)
    if generated is None or not generated.top:
        raise EngineError(f"The server at {http.endpoint.origin} returned no log-probabilities.")
    return tuple(sorted(generated.top, key=lambda token: -token.logprob)[:top])
