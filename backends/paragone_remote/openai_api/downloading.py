"""Tell LM Studio to download a model: https://lmstudio.ai/docs/developer/rest/download."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import AsyncGenerator, Mapping

from paragone import EngineError, InputError, Json, PullProgress
from paragone.json_fields import count_at, text_at
from paragone.options import build
from paragone_remote.endpoints.endpoint import make_endpoint
from paragone_remote.http.replies import await_data
from paragone_remote.http.transport import EndpointClient
from paragone_remote.openai_api.loaders.loader_of import loader_of
from paragone_remote.openai_api.openai_options import OpenAILoadOptions
from paragone_remote.openai_api.servers.server import find_models, identify
from paragone_remote.server_text import plain

_PAUSE_S = 0.5
"""Seconds between two requests for the progress of the download."""


async def pull(model: str, options: Mapping[str, Json]) -> AsyncGenerator[PullProgress, None]:
    """Yield the progress of the download. LM Studio offers no way to stop a download.

    Raises InputError if the server downloads no models, and EngineError if the download fails.
    """
    endpoint = await make_endpoint(build(OpenAILoadOptions, options, owner="OpenAI-compatible"))
    at = f"The server at {endpoint.origin}"
    async with EndpointClient(endpoint) as http:
        await find_models(http)  # raises if the server does not answer
        server = await identify(http)
        loader = await loader_of(http, server)
        if loader is None or not loader.downloads:
            raise InputError(
                f"{at} downloads no models on request.",
                hint="LM Studio from 0.4.0 on does, and so does Ollama (ollama:MODEL).",
            )
        url = f"{endpoint.root}/api/v1/models/download"
        job = await await_data(endpoint, http.post(url, json={"model": model}), model=model)
        name = urllib.parse.quote(plain(text_at(job, "job_id")), safe="")
        while (status := plain(text_at(job, "status"))) in ("downloading", "paused"):
            done, total = count_at(job, "downloaded_bytes"), count_at(job, "total_size_bytes")
            yield PullProgress(status=status, done=done or 0, total=total or None)
            if not name:
                raise EngineError(f"{at} does not report the progress of its download of {model!r}.")
            await asyncio.sleep(_PAUSE_S)
            job = await await_data(endpoint, http.get(f"{url}/status/{name}"))
        if status not in ("completed", "already_downloaded"):
            raise EngineError(
                f"{at} did not download {endpoint.quote(model)!r}: the download's status is "
                f"{endpoint.quote_error(status) or 'missing'}.",
                hint="LM Studio's window or log says why.",
            )
