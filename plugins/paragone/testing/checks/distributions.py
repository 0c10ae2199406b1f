"""Checks of distributions over the whole vocabulary, for backends that compute them."""

from __future__ import annotations

import contextlib
import math
from array import array
from collections.abc import Mapping, Sequence

import pytest

from paragone.backend import OpenEngine
from paragone.errors import InputError, ParagoneError
from paragone.testing.checks.stopping import StoppingBase
from paragone.testing.noise import check_agreement, log_probabilities, noise_of
from paragone.testing.runs import check_error, check_plain, events_of, tokens_of, within, words
from paragone.values.messages import DistributionsRequest, ScoreRequest
from paragone.values.models import Capabilities
from paragone.wire import Json

__all__ = ["DistributionChecks"]

TEXT = "The sea is deep, and the sky is high above it. Nobody knows what lies between the two of them."


class DistributionChecks(StoppingBase):
    """`distributions` and `vocabulary`."""

    async def test_distributions_are_complete(self, engine: OpenEngine, able: Capabilities) -> None:
        """There is one row per token, as wide as the vocabulary. Other backends raise an error."""
        if not able.distributions:
            request = DistributionsRequest(ids=(0, 1))
            with pytest.raises(ParagoneError) as caught:
                await within(self.patience, "distributions", rows_of(engine, request))
            check_error(caught.value)
            return
        ids = await self.ids_of(engine, able, TEXT)
        size = (await within(self.patience, "the vocabulary", engine.vocabulary())).size
        whole = await within(self.patience, "distributions", rows_of(engine, DistributionsRequest(ids=ids)))
        assert len(whole) == len(ids), f"{len(whole)} rows for {len(ids)} tokens"
        for row in whole:
            assert len(row) == size, f"a row of {len(row)} numbers for a vocabulary of {size} tokens"
            assert all(map(math.isfinite, row)), "a row contains numbers that are not finite"
        request = DistributionsRequest(ids=ids, start=len(ids) - 2, batch=3)
        assert len(await within(self.patience, "distributions", rows_of(engine, request))) == 2

    async def test_distributions_agree_with_the_score(self, engine: OpenEngine, able: Capabilities) -> None:
        """A softmax of the rows equals the score of the same text, except for the engine's own noise."""
        if not (able.distributions and able.score):
            pytest.skip("the backend has no distributions or no scores")
        ids = await self.ids_of(engine, able, TEXT)
        events = await within(self.patience, "scoring", events_of(engine.score(ScoreRequest(text=TEXT))))
        scored = tokens_of(events)
        start = len(ids) - len(scored)
        scored_ids = tuple(token.id for token in scored)
        assert start > 0, f"{len(scored)} scored tokens, but the text has {len(ids)}"
        assert scored_ids == ids[start:], "the scored tokens are not the tokens of the text"
        noise = await within(self.patience, "distributions", noise_of(engine, ids))
        found = await within(self.patience, "distributions", log_probabilities(engine, ids, start=start - 1))
        check_agreement(found, [token.logprob or 0.0 for token in scored], noise, "distributions and score")

    @pytest.mark.parametrize("how", ["stopped", "left"])
    async def test_distributions_can_be_stopped(
        self, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json], how: str
    ) -> None:
        """They can be stopped like a run, without an error, and the engine is free for the next run."""
        if not able.distributions:
            pytest.skip("the backend has no distributions")
        text = words(min(500, (engine.loaded.context or 3000) // 3))
        ids = await self.ids_of(engine, able, text)
        request = DistributionsRequest(ids=ids, batch=1)
        came = await within(
            self.patience, "ending distributions", ended(engine, request, stop=how == "stopped")
        )
        assert came < len(ids), "all rows were sent, although the stop came after the first"
        await self.next_run_works(engine, sampling)

    async def test_invalid_sequences_are_refused(
        self, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """A token outside the vocabulary, or a sequence longer than the context, raises an InputError."""
        if not able.distributions:
            pytest.skip("the backend has no distributions")
        ids = await self.ids_of(engine, able, TEXT)
        size = (await within(self.patience, "the vocabulary", engine.vocabulary())).size
        wrong = [(*ids[:3], size), (*ids[:3], -1)]
        if engine.loaded.context is not None:
            wrong.append((ids * (engine.loaded.context // len(ids) + 1))[: engine.loaded.context + 1])
        for sequence in wrong:
            request = DistributionsRequest(ids=sequence, start=len(sequence) - 1)
            with pytest.raises(InputError) as caught:
                await within(self.patience, "refusing a sequence", rows_of(engine, request))
            check_error(caught.value)
        await self.next_run_works(engine, sampling)

    async def test_the_vocabulary_stays_the_same(self, engine: OpenEngine, able: Capabilities) -> None:
        """The vocabulary has a size and a fingerprint. Other backends raise an error."""
        try:
            vocabulary = await within(self.patience, "the vocabulary", engine.vocabulary())
        except ParagoneError as error:
            assert not able.distributions, "a backend with distributions must return its vocabulary"
            check_error(error)
            return
        check_plain(vocabulary)
        assert vocabulary.size > 0, f"a vocabulary of {vocabulary.size} tokens"
        assert len(vocabulary.fingerprint) == 64, (
            f"{vocabulary.fingerprint!r} was not made by paragone.fingerprint"
        )
        again = await within(self.patience, "the vocabulary", engine.vocabulary())
        assert again == vocabulary, "a second request returns another vocabulary"


async def rows_of(engine: OpenEngine, request: DistributionsRequest) -> list[Sequence[float]]:
    """Return all rows after a check of their positions. Copies each block before it requests the next one."""
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


async def ended(engine: OpenEngine, request: DistributionsRequest, *, stop: bool) -> int:
    """End distributions after their first block, and return the number of rows received."""
    rows = 0
    async with contextlib.aclosing(engine.distributions(request)) as blocks:
        async for block in blocks:
            if not rows:
                if not stop:
                    return block.rows
                await engine.stop()
            rows += block.rows
    return rows
