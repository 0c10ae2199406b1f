"""The embeddings of texts that the client gave."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from paragone import Embeddings, EmbedRequest
from paragone_workbench.serving.direct_use import used
from paragone_workbench.serving.protocol.api_error import ApiError
from paragone_workbench.serving.protocol.given import Given
from paragone_workbench.serving.served_engine import ServedEngine

_AT_ONCE = 32
"""Largest number of texts in one request to an engine, so that replies stay small, and few texts are computed in vain if
the client leaves."""


async def embedded(engine: ServedEngine, inputs: Sequence[Given]) -> Embeddings:
    """Return the vectors of texts and tokens once the engine has room.

    Raises ParagoneError if the engine fails, and ApiError if the engine cannot compute these inputs or is too busy.
    """
    async with engine.reserved() as handle:
        if not handle.capabilities.embeddings:
            sentence = f"{engine.name} computes no embeddings."
            raise ApiError(404, sentence, param="model", code="not_supported")
        if not handle.capabilities.token_ids and not all(isinstance(item, str) for item in inputs):
            raise ApiError(400, f"{engine.name} takes no token ids: send texts.", param="input")
        async with used(engine.pool, handle) as opened:
            found = [await opened.embed(request) for request in _requests(inputs)]
    counts = [part.prompt_tokens for part in found]
    return Embeddings(
        vectors=tuple(vector for part in found for vector in part.vectors),
        prompt_tokens=None if None in counts else sum(count or 0 for count in counts),
    )


def _requests(inputs: Sequence[Given]) -> Iterator[EmbedRequest]:
    """Yield requests in the order of the inputs, each for texts alone or for tokens alone."""
    for _, group in itertools.groupby(inputs, type):
        alike = tuple(group)
        for at in range(0, len(alike), _AT_ONCE):
            part = alike[at : at + _AT_ONCE]
            texts = tuple(item for item in part if isinstance(item, str))
            yield EmbedRequest(texts=texts, ids=tuple(item for item in part if not isinstance(item, str)))
