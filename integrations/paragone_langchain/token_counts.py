"""The tokens of texts and of prompts, from the engine itself."""

from __future__ import annotations

from paragone import EngineError, InputError, TokenizedText, TokenizeRequest
from paragone_langchain.engine_host import Lease


def tokenized(lease: Lease, request: TokenizeRequest) -> TokenizedText:
    """Return the tokens of a text or of messages. Raises ParagoneError, also if the engine does not report tokens."""
    return lease.host.start(_tokenized(lease, request)).result()


async def _tokenized(lease: Lease, request: TokenizeRequest) -> TokenizedText:
    shared = await lease.engine()
    async with shared.reserved() as handle, shared.pool.scheduler.turn(handle):
        engine = handle.engine
        if engine is None:
            raise handle.error or EngineError(f"The engine {shared.name} was closed.")
        if not handle.capabilities.tokenize:
            raise InputError(f"{shared.name} does not report the tokens of a text.")
        return await engine.tokenize(request)
