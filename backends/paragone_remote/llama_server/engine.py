"""An open model in a llama-server of its own."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator

import httpx

from paragone import (
    Alternative,
    LoadedModel,
    RunRequest,
    RunSettings,
    TokenizedText,
    TokenizeRequest,
    TopTokensRequest,
    Vocabulary,
)
from paragone_remote.http.faults import Fault, IncompleteAnswer
from paragone_remote.llama_server.server_process.sharing import Share
from paragone_remote.openai_api.completions.refused_fields import RefusedFields
from paragone_remote.openai_api.engine import OpenAIEngine
from paragone_remote.openai_api.options import OpenAISampling
from paragone_remote.openai_api.servers.server import Server
from paragone_remote.server_changes import Identity

__all__ = ["LlamaServerEngine"]

_END_S = 1.0
"""Seconds to wait for the end of a process whose connection broke."""


class LlamaServerEngine(OpenAIEngine):
    """A model in a llama-server that ends with the engine, or with the last one that shares it."""

    def __init__(
        self,
        share: Share,
        http: httpx.AsyncClient,
        loaded: LoadedModel,
        *,
        model: str,
        server: Server,
        raw: bool,
        identity: Identity,
    ) -> None:
        """Create an engine, which owns its share and its HTTP client."""
        super().__init__(
            share.server.endpoint,
            http,
            loaded,
            model=model,
            server=server,
            raw=raw,
            refused_fields=RefusedFields(),
            identity=identity,
        )
        self._share = share
        self._server_process = share.server

    def _settings(self, request: RunRequest, sampling: OpenAISampling) -> RunSettings:
        return dataclasses.replace(super()._settings(request, sampling), threads=self._server_process.threads)

    async def _fault(self, error: Exception, *, begun: bool) -> Fault:
        broken = isinstance(error, httpx.TransportError | IncompleteAnswer)
        if broken and await self._server_process.process.ended(_END_S):
            return Fault(error=self._server_process.error())
        return await super()._fault(error, begun=begun)

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Return the tokens of a conversation's prompt, or of a text, from the server."""
        self._see_running()
        return await super().tokenize(request)

    async def top_tokens(self, request: TopTokensRequest) -> AsyncGenerator[tuple[Alternative, ...], None]:
        """Report the likeliest next tokens after tokens of a sequence: one request for each position."""
        self._see_running()
        async with contextlib.aclosing(super().top_tokens(request)) as positions:
            async for found in positions:
                yield found

    async def vocabulary(self) -> Vocabulary:
        """Return the vocabulary, which llama-server reports token by token."""
        self._see_running()
        return await super().vocabulary()

    async def close(self) -> None:
        """End the server unless another engine uses it, which frees its memory."""
        await super().close()
        await self._share.release()

    def _see_running(self) -> None:
        """Raise EngineCrashed if the server has ended."""
        self._see_open()
        if self._server_process.process.has_ended:
            raise self._server_process.error()
