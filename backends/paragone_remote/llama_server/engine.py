"""An open model in a llama-server of its own."""

from __future__ import annotations

import dataclasses

import httpx

from paragone import ParagoneError, RunRequest, RunSettings
from paragone_remote.engine import RemoteModel
from paragone_remote.http.faults import Fault, IncompleteAnswer
from paragone_remote.llama_server.server_process.sharing import Share
from paragone_remote.openai_api.completions.refused_fields import RefusedFields
from paragone_remote.openai_api.engine import OpenAIEngine
from paragone_remote.openai_api.openai_options import OpenAISampling
from paragone_remote.openai_api.servers.server import ServerProperties

_END_S = 1.0
"""Seconds to wait for the end of a process whose connection broke."""


class LlamaServerEngine(OpenAIEngine):
    """A model in a llama-server that ends with the engine, or with the last engine that shares the server."""

    def __init__(self, model: RemoteModel, share: Share, *, server: ServerProperties, raw: bool) -> None:
        """Create an engine, which owns its share and the HTTP client of the model."""
        super().__init__(model, server=server, raw=raw, refused_fields=RefusedFields())
        self._share = share
        self._server_process = share.server

    def _settings(self, request: RunRequest, sampling: OpenAISampling) -> RunSettings:
        return dataclasses.replace(super()._settings(request, sampling), threads=self._server_process.threads)

    async def _fault(self, error: Exception, *, begun: bool) -> Fault:
        broken = isinstance(error, httpx.TransportError | IncompleteAnswer)
        if broken and await self._server_process.process.ended(_END_S):
            return Fault(self._server_process.error())
        return await super()._fault(error, begun=begun)

    async def ended(self) -> ParagoneError:
        """Wait until the server's process has ended, and return why."""
        await self._server_process.process.ended()
        return self._server_process.error()

    async def close(self) -> None:
        """End the server, which frees its memory, unless another engine uses the server."""
        await super().close()
        await self._share.release()

    def _require_open(self) -> None:
        """Raise EngineError if the engine is closed, EngineCrashed if the server has ended."""
        super()._require_open()
        if self._server_process.process.has_ended:
            raise self._server_process.error()
