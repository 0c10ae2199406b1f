"""An open model in a llama-server of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator

from paragone import (
    Alternative,
    EngineError,
    LoadedModel,
    RunRequest,
    RunSettings,
    TokenizedText,
    TokenizeRequest,
    TopTokensRequest,
    Vocabulary,
)
from paragone_remote.faults import Fault
from paragone_remote.llama_server.process import ServerProcess
from paragone_remote.openai_api.engine import OpenAIEngine
from paragone_remote.openai_api.options import OpenAISampling
from paragone_remote.openai_api.refused_fields import RefusedFields
from paragone_remote.openai_api.server import Server
from paragone_remote.server_changes import Identity

__all__ = ["LlamaServerEngine"]

_END_S = 1.0
"""Seconds to wait for the end of a process whose connection broke."""


class LlamaServerEngine(OpenAIEngine):
    """A model in a llama-server that ends with the engine."""

    def __init__(
        self,
        process: ServerProcess,
        loaded: LoadedModel,
        *,
        model: str,
        server: Server,
        raw: bool,
        identity: Identity,
        threads: int,
    ) -> None:
        """Create an engine. `threads` is the number of CPU threads that the server computes with."""
        super().__init__(
            process.endpoint,
            process.http,
            loaded,
            model=model,
            server=server,
            raw=raw,
            refused_fields=RefusedFields(),
            identity=identity,
        )
        self._process = process
        self._threads = threads

    def _settings(self, request: RunRequest, sampling: OpenAISampling) -> RunSettings:
        return dataclasses.replace(super()._settings(request, sampling), threads=self._threads)

    async def _fault(self, error: Exception, *, begun: bool) -> Fault:
        fault = await super()._fault(error, begun=begun)
        if isinstance(fault.error, EngineError) and await self._process.process.ended(_END_S):
            return Fault(error=self._process.process.error())
        return fault

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Return the tokens of a conversation's prompt, or of a text, from the server."""
        self._see_running()
        return await super().tokenize(request)

    async def top_tokens(self, request: TopTokensRequest) -> AsyncGenerator[tuple[Alternative, ...], None]:
        """Report the likeliest next tokens after tokens of a sequence: one request for each position."""
        self._see_running()
        async for found in super().top_tokens(request):
            yield found

    async def vocabulary(self) -> Vocabulary:
        """Return the vocabulary, which llama-server reports token by token."""
        self._see_running()
        return await super().vocabulary()

    async def close(self) -> None:
        """End the server, which frees its memory."""
        await self.stop()
        await self._process.close()

    def _see_running(self) -> None:
        """Raise EngineCrashed if the server has ended."""
        self._see_open()
        if self._process.process.has_ended:
            raise self._process.process.error()
