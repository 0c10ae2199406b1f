"""Checks of embeddings, for backends that compute them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from paragone.checks import check_embeddings
from paragone.errors import EngineError, ParagoneError
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import check_error, needs, refused, within
from paragone.testing.subject import Subject
from paragone.values.embeddings import Embeddings
from paragone.values.messages import EmbedRequest

TEXTS = ("The sea is deep, 海は深い.", "Nobody knows the way home.", "one two three four")
SAME = 0.999
"""Smallest cosine of two embeddings of the same text, which differ slightly because results may depend on the batch."""


class EmbeddingChecks(ConformanceFixtures):
    """`embed`: its vectors, its token counts, and an early end."""

    async def test_texts_are_embedded(self, subject: Subject) -> None:
        """Each text has a vector, which does not depend on the other texts. Backends without embeddings raise an error."""
        if not subject.able.embeddings:
            await refused(embed(subject, EmbedRequest(texts=TEXTS)), kind=ParagoneError)
            return
        vectors = check_vectors(await embed(subject, EmbedRequest(texts=(*TEXTS, TEXTS[0]))), 4)
        assert cosine(vectors[0], vectors[3]) > SAME, "equal texts have different embeddings"
        for at, text in enumerate(TEXTS):
            (alone,) = check_vectors(await embed(subject, EmbedRequest(texts=(text,))), 1)
            assert cosine(alone, vectors[at]) > SAME, f"the embedding of {text!r} depends on the other texts"
        assert cosine(vectors[0], vectors[1]) < SAME, "different texts have the same embedding"

    async def test_tokens_are_embedded(self, subject: Subject) -> None:
        """Sequences of tokens have vectors like texts, and the engine adds no tokens."""
        able = subject.able
        needs(
            able.embeddings and able.token_ids and able.tokenize,
            "the backend does not embed token ids, or does not tokenize",
        )
        ids = await subject.ids_of(TEXTS[0])
        found = await embed(subject, EmbedRequest(ids=(ids, ids[:2], ids)))
        vectors = check_vectors(found, 3)
        assert cosine(vectors[0], vectors[2]) > SAME, "equal tokens have different embeddings"
        assert cosine(vectors[0], vectors[1]) < SAME, "different tokens have the same embedding"
        assert found.prompt_tokens in (None, 2 * len(ids) + 2), f"{found.prompt_tokens} tokens were counted"

    async def test_embedding_can_be_stopped(self, subject: Subject) -> None:
        """`stop` ends `embed` soon, with an EngineError unless all vectors are complete. The engine is then free."""
        needs(subject.able.embeddings, "the backend computes no embeddings")
        task = asyncio.ensure_future(subject.engine.embed(EmbedRequest(texts=(subject.long_text(500),) * 16)))
        await asyncio.sleep(0.05)
        await within(subject.grace, "`stop`", subject.engine.stop())
        try:
            await within(subject.grace, "ending embeddings that were stopped", task)
        except EngineError as error:
            check_error(error)
        await subject.still_answers()


async def embed(subject: Subject, request: EmbedRequest) -> Embeddings:
    """Return the embeddings of texts."""
    return await subject.within("embedding", subject.engine.embed(request))


def check_vectors(found: Embeddings, count: int) -> tuple[tuple[float, ...], ...]:
    """Check the embeddings of `count` texts, and return the vectors."""
    check_embeddings(found, count)
    assert all(any(vector) for vector in found.vectors), "an embedding is all zeros"
    assert found.prompt_tokens is None or found.prompt_tokens >= count, (
        f"{found.prompt_tokens} tokens of {count} texts"
    )
    return found.vectors


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors."""
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))
