"""Having an Ollama server download a model."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping

from paragone import Json, PullProgress
from paragone.options import build
from paragone_remote.asking import ask
from paragone_remote.endpoint import make_endpoint
from paragone_remote.ollama_api.client import OllamaClient
from paragone_remote.ollama_api.naming import DEFAULT_URL
from paragone_remote.ollama_api.options import OllamaLoadOptions
from paragone_remote.text import plain
from paragone_remote.transport import make_client

__all__ = ["pull"]


async def pull(model: str, options: Mapping[str, Json]) -> AsyncGenerator[PullProgress, None]:
    """Yield how far the download is. Closing this closes the request, by which the server stops."""
    endpoint = await make_endpoint(build(OllamaLoadOptions, options, owner="Ollama"), default=DEFAULT_URL)
    layers: dict[str, tuple[int, int]] = {}
    async with (
        make_client(endpoint) as http,
        contextlib.aclosing(OllamaClient(http).pull_parts(model)) as parts,
    ):
        while True:
            # a server checks a large file's digest in silence
            patience = endpoint.options.load_timeout
            part = await ask(endpoint, anext(parts, None), model=model, seconds=patience)
            if part is None:
                return
            if part.digest and part.total:
                layers[part.digest] = (part.completed or 0, part.total)
            yield PullProgress(
                status=plain(part.status or ""),
                done=sum(done for done, _ in layers.values()),
                total=sum(total for _, total in layers.values()) or None,
            )
