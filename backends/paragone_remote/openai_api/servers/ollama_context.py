"""The context window of a model on an Ollama server that is used through the OpenAI protocol.

Through this protocol, Ollama cuts prompts without an error. Only a path of Ollama's own protocol reports the size
of the context: https://docs.ollama.com/api/ps.
"""

from __future__ import annotations

from paragone.json_fields import count_at, objects_at, text_at
from paragone_remote.http.replies import data_or_nothing
from paragone_remote.http.transport import EndpointClient

FINGERPRINT = "fp_ollama"
"""The `system_fingerprint` of Ollama's answers (openai/openai.go in its source)."""


async def context_in_use(http: EndpointClient, model: str) -> int | None:
    """Return the size of a loaded model's context in tokens; None if unknown. Raises the exceptions in `faults.FAULTS`."""
    reply = await http.get(f"{http.endpoint.root}/api/ps")
    found = data_or_nothing(reply)
    wanted = {model, f"{model}:latest"}
    sizes = [
        count_at(entry, "context_length")
        for entry in objects_at(found, "models")
        if text_at(entry, "name") in wanted
    ]
    return sizes[0] if sizes else None
