"""Checks of distributions over the whole vocabulary, for backends that compute them."""

from __future__ import annotations

import contextlib
import math
from array import array
from collections.abc import Sequence

import pytest

from paragone.backend import OpenEngine
from paragone.errors import InputError, ParagoneError
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.noise import check_agreement, log_probabilities, noise_of
from paragone.testing.runs import check_error, check_plain, needs, refused, tokens_of
from paragone.testing.subject import Subject
from paragone.values.messages import DistributionsRequest, ScoreRequest

TEXT = "The sea is deep, and the sky is high above it. Nobody knows what lies between the two of them."


class DistributionChecks(ConformanceFixtures):
    """`distributions` and `vocabulary`."""

    async def test_distributions_are_complete(self, subject: Subject) -> None:
        """Each token has a row as wide as the vocabulary. Backends without distributions raise an error."""
        if not subject.able.distributions:
            work = rows_of(subject.engine, DistributionsRequest(ids=(0, 1)))
            await refused(subject.within("distributions", work), kind=ParagoneError)
            return
        ids = await subject.ids_of(TEXT)
        size = await subject.vocabulary_size()
        whole = await subject.within("distributions", rows_of(subject.engine, DistributionsRequest(ids=ids)))
        assert len(whole) == len(ids), f"{len(whole)} rows for {len(ids)} tokens"
        for row in whole:
            assert len(row) == size, f"a row of {len(row)} numbers for a vocabulary of {size} tokens"
            assert all(map(math.isfinite, row)), "a row contains numbers that are not finite"
        request = DistributionsRequest(ids=ids, start=len(ids) - 2, batch=3)
        assert len(await subject.within("distributions", rows_of(subject.engine, request))) == 2

    async def test_distributions_agree_with_the_score(self, subject: Subject) -> None:
        """A softmax of the rows equals the score of the same text, except for the engine's own noise."""
        engine, able = subject.engine, subject.able
        needs(able.distributions and able.score, "the backend has no distributions or no scores")
        ids = await subject.ids_of(TEXT)
        scored = tokens_of(await subject.score(ScoreRequest(text=TEXT)))
        start = len(ids) - len(scored)
        scored_ids = tuple(token.id for token in scored)
        assert start > 0, f"{len(scored)} scored tokens, but the text has {len(ids)}"
        assert scored_ids == ids[start:], "the scored tokens are not the tokens of the text"
        noise = await subject.within("distributions", noise_of(engine, ids))
        found = await subject.within("distributions", log_probabilities(engine, ids, start=start - 1))
        check_agreement(found, [token.logprob or 0.0 for token in scored], noise, "distributions and score")

    @pytest.mark.parametrize("how", ["stopped", "left"])
    async def test_distributions_can_be_stopped(self, subject: Subject, how: str) -> None:
        """`stop`, or closing the generator, ends distributions early without an error, and the engine is free for a run."""
        needs(subject.able.distributions, "the backend has no distributions")
        ids = await subject.ids_of(subject.long_text(500))
        stream = subject.engine.distributions(DistributionsRequest(ids=ids, batch=1))
        ended = subject.ended(stream, stop=how == "stopped", size=lambda block: block.rows)
        rows = await subject.within("ending distributions", ended)
        assert rows < len(ids), "all rows were sent, although the stop came after the first"
        await subject.still_answers()

    async def test_invalid_sequences_are_refused(self, subject: Subject) -> None:
        """A token outside the vocabulary, or a sequence longer than the context, raises an InputError."""
        needs(subject.able.distributions, "the backend has no distributions")
        ids = await subject.ids_of(TEXT)
        size = await subject.vocabulary_size()
        wrong = [(*ids[:3], size), (*ids[:3], -1)]
        if (context := subject.engine.loaded.context) is not None:
            wrong.append((ids * (context // len(ids) + 1))[: context + 1])
        for sequence in wrong:
            request = DistributionsRequest(ids=sequence, start=len(sequence) - 1)
            work = rows_of(subject.engine, request)
            await refused(subject.within("refusing a sequence", work), kind=InputError)
        await subject.still_answers()

    async def test_the_vocabulary_stays_the_same(self, subject: Subject) -> None:
        """The vocabulary has a size and a fingerprint. Backends that cannot list their vocabulary raise an error."""
        try:
            vocabulary = await subject.within("the vocabulary", subject.engine.vocabulary())
        except ParagoneError as error:
            assert not subject.able.distributions, "a backend with distributions must return its vocabulary"
            check_error(error)
            return
        check_plain(vocabulary)
        assert vocabulary.size > 0, f"a vocabulary of {vocabulary.size} tokens"
        assert len(vocabulary.fingerprint) == 64, (
            f"{vocabulary.fingerprint!r} was not made by paragone.fingerprint"
        )
        again = await subject.within("the vocabulary", subject.engine.vocabulary())
        assert again == vocabulary, "a second request returns another vocabulary"


async def rows_of(engine: OpenEngine, request: DistributionsRequest) -> list[Sequence[float]]:
    """Check the positions of all rows and return the rows. Copy each block before the next block is requested."""
    rows: list[Sequence[float]] = []
    async with contextlib.aclosing(engine.distributions(request)) as blocks:
        async for block in blocks:
            expected = request.start + len(rows)
            assert block.start == expected, f"a block starts at token {block.start} instead of {expected}"
            numbers = array("f", block.data.tobytes())
            assert len(numbers) == block.rows * block.vocab_size, (
                "the data of a block does not have rows * vocab_size numbers"
            )
            width = block.vocab_size
            rows += [numbers[at * width : (at + 1) * width] for at in range(block.rows)]
    return rows
