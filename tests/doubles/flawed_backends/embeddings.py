"""Flaws in embeddings."""

import asyncio
from dataclasses import replace

from polite_backend import PoliteBackend, PoliteEngine

from flawed_backends.found import found_by
from paragone import EngineError, OpenEngine

EMBEDDED = "texts are embedded"
TOKENS = "tokens are embedded"
ENDED = "embedding can be stopped"


@found_by(EMBEDDED)
class CannotAndEmbeds(PoliteBackend):
    capabilities = replace(PoliteBackend.capabilities, embeddings=False)


@found_by(EMBEDDED, TOKENS)
class PromisesEmbeddings(PoliteBackend):
    class engine(PoliteEngine):
        embed = OpenEngine.embed


@found_by(EMBEDDED, TOKENS)
class EmbedsTheFirstTextOnly(PoliteEngine):
    async def embed(self, request):
        found = await super().embed(request)
        return replace(found, vectors=found.vectors[:1])


@found_by(EMBEDDED, TOKENS)
class SameEmbeddingForAll(PoliteEngine):
    def embedding(self, ids):
        return (1.0, 0.0)


@found_by(EMBEDDED, TOKENS)
class EmbeddingsOfZeros(PoliteEngine):
    def embedding(self, ids):
        return (0.0, 0.0)


@found_by(EMBEDDED)
class EmbeddingsOfOneText(PoliteEngine):
    """The vector of a text depends on the texts beside it."""

    async def embed(self, request):
        if request.texts:
            request = replace(request, texts=tuple(text + " ".join(request.texts) for text in request.texts))
        return await super().embed(request)


@found_by(TOKENS)
class AddsATokenToTokens(PoliteEngine):
    async def embed(self, request):
        return await super().embed(replace(request, ids=tuple((*ids, 1) for ids in request.ids)))


@found_by(ENDED)
class BusyAfterEmbedding(PoliteEngine):
    busy = False

    async def embed(self, request):
        self.busy = len(request.inputs) > 10
        await asyncio.sleep(0)
        return await super().embed(request)

    def check_fits(self, prompt):
        if self.busy:
            raise EngineError("The engine is busy.")
        super().check_fits(prompt)
