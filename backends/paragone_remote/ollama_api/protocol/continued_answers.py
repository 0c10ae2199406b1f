"""Requests that continue an answer.

Ollama gives the final message of the assistant to the model's template. Some templates leave the message open; others close
the message, so that the model would begin a new answer. With a template that closes the message, the prompt is sent
as text (`raw`, https://docs.ollama.com/api/generate).
"""

from __future__ import annotations

from collections.abc import Mapping

from paragone import Json, Message
from paragone.json_fields import list_at
from paragone_remote.answers.continued import unfinished_text
from paragone_remote.ollama_api.protocol.client import OllamaClient


async def raw_prompt(client: OllamaClient, body: Mapping[str, Json], answer: Message) -> str | None:
    """Return the plain text to send, so that the model continues the answer at the end of the chat request `body`.

    Returns None if the server does not render prompts. Raises the exceptions in `faults.FAULTS`.
    """
    before = await client.rendered({**body, "messages": list_at(body, "messages")[:-1]})
    return None if before is None else before + unfinished_text(answer, before)


async def leaves_open(client: OllamaClient, body: Mapping[str, Json], answer: Message) -> bool:
    """Whether the prompt of a chat request ends with the answer to continue. Raises the exceptions in `faults.FAULTS`."""
    whole = await client.rendered(body)
    return whole is not None and whole.endswith(answer.text)


def raw_body(body: Mapping[str, Json], prompt: str) -> dict[str, Json]:
    """Return the body of a request that continues the plain text `prompt`, with the other fields of the chat request `body`."""
    shared = {name: value for name, value in body.items() if name not in ("messages", "think")}
    return {**shared, "prompt": prompt, "raw": True}
