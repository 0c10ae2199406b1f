"""Choose the loader for the models of a server."""

from __future__ import annotations

import httpx

from paragone_remote.endpoints.endpoint import Endpoint
from paragone_remote.http.replies import optional_data
from paragone_remote.loading.model_loader import ModelLoader
from paragone_remote.openai_api.loaders.llama_swap import LlamaSwapLoader
from paragone_remote.openai_api.loaders.lm_studio import LmStudioLoader
from paragone_remote.openai_api.loaders.router import RouterLoader
from paragone_remote.openai_api.servers.server import ServerProperties, root_of


async def loader_of(
    http: httpx.AsyncClient, endpoint: Endpoint, server: ServerProperties
) -> ModelLoader | None:
    """Return the loader for the models of a server; None if the server loads no models on demand."""
    root = root_of(endpoint)
    if server.routes:
        return RouterLoader(http, endpoint, root)
    if server.kind == "llama-swap":
        return LlamaSwapLoader(http, endpoint, root)
    if server.kind == "LM Studio":
        described = await optional_data(http, endpoint, f"{root}/api/v1/models")
        if isinstance(
            described.get("models"), list
        ):  # versions before 0.4.0 have no such path, and load a model with its first request
            return LmStudioLoader(http, endpoint, root)
    return None
