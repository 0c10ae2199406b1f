"""Choose the loader for the models of a server."""

from __future__ import annotations

from paragone_remote.http.replies import optional_data
from paragone_remote.http.transport import EndpointClient
from paragone_remote.loading.model_loader import ModelLoader
from paragone_remote.openai_api.loaders.llama_swap import LlamaSwapLoader
from paragone_remote.openai_api.loaders.lm_studio import LmStudioLoader
from paragone_remote.openai_api.loaders.router import RouterLoader
from paragone_remote.openai_api.servers.server import ServerProperties


async def loader_of(http: EndpointClient, server: ServerProperties) -> ModelLoader | None:
    """Return the loader for the models of a server; None if the server loads no models on demand."""
    if server.routes:
        return RouterLoader(http)
    if server.kind == "llama-swap":
        return LlamaSwapLoader(http)
    if server.kind == "LM Studio":
        described = await optional_data(http, f"{http.endpoint.root}/api/v1/models")
        # LM Studio before 0.4.0 lacks this path, and loads a model with its first request.
        if isinstance(described.get("models"), list):
            return LmStudioLoader(http)
    return None
