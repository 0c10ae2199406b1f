"""Checks of the likeliest tokens at the positions of a sequence, for backends that report them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping

import pytest

from paragone.backend import OpenEngine
from paragone.errors import ParagoneError
from paragone.testing.checks.stopping import StoppingBase
from paragone.testing.runs import check_error, within, words
from paragone.values.events import Alternative
from paragone.values.messages import TopTokensRequest
from paragone.values.models import Capabilities
from paragone.wire import Json

__all__ = ["TopTokensChecks"]

TEXT = "The sea is deep, and the sky is high above it."


class TopTokensChecks(StoppingBase):
    """`top_tokens`."""

    async def test_top_tokens_are_ranked(self, engine: OpenEngine, able: Capabilities) -> None:
        """They are there for each position, the likeliest first. Other backends raise an error."""
        if not able.top_tokens:
            request = TopTokensRequest(ids=(0, 1))
            with pytest.raises(ParagoneError) as caught:
                await within(self.patience, "top tokens", tops_of(engine, request))
            check_error(caught.value)
            return
        ids = await self.ids_of(engine, able, TEXT)
        request = TopTokensRequest(ids=ids, start=2, top=4)
        found = await within(self.patience, "top tokens", tops_of(engine, request))
        assert len(found) == len(ids) - 2, f"{len(found)} positions were reported instead of {len(ids) - 2}"
        size = (await within(self.patience, "the vocabulary", engine.vocabulary())).size
        for top in found:
            check_top(top, 4, size)

    async def test_top_tokens_follow_the_sequence(self, engine: OpenEngine, able: Capabilities) -> None:
        """The last token of a sequence matters, and the same sequence gives the same likeliest token."""
        if not able.top_tokens:
            pytest.skip("the backend does not report top tokens")
        ids = await self.ids_of(engine, able, TEXT)
        whole, again, shorter = [
            await within(self.patience, "top tokens", tops_of(engine, TopTokensRequest(ids=it, start=1)))
            for it in (ids, ids, ids[:-1])
        ]
        firsts = [[top[0].id for top in found] for found in (whole, again, shorter)]
        assert firsts[0] == firsts[1], "the same sequence gave other tokens"
        assert firsts[0][:-1] == firsts[2], "a later token changed an earlier position"
        assert len(set(firsts[0])) > 1, "the same token is the likeliest everywhere"

    async def test_top_tokens_can_be_ended(
        self, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """They can be stopped like a run, without an error, and the engine is free for the next run."""
        if not able.top_tokens:
            pytest.skip("the backend does not report top tokens")
        text = words(min(500, (engine.loaded.context or 3000) // 3))
        ids = await self.ids_of(engine, able, text)
        came = await within(self.patience, "ending top tokens", ended(engine, TopTokensRequest(ids=ids)))
        assert came < len(ids), "all positions were sent, although the stop came after the first"
        await self.next_run_works(engine, sampling)


def check_top(top: tuple[Alternative, ...], count: int, size: int) -> None:
    """Check the alternatives of one position, of a vocabulary of `size` tokens."""
    assert len(top) == count, f"{len(top)} tokens came instead of {count}"
    assert all(isinstance(it.id, int) for it in top), f"a token has no id: {top!r}"
    assert len({it.id for it in top}) == count, f"a token came twice: {top!r}"
    logprobs = [it.logprob for it in top]
    assert logprobs == sorted(logprobs, reverse=True), f"the likeliest does not come first: {logprobs}"
    assert logprobs[0] <= 0, f"a log-probability is above 0: {logprobs}"
    assert logprobs[0] >= -math.log(size), f"the first is no likelier than any token: {logprobs}"


async def tops_of(engine: OpenEngine, request: TopTokensRequest) -> list[tuple[Alternative, ...]]:
    """Return the top tokens of all positions."""
    return [top async for top in engine.top_tokens(request)]


async def ended(engine: OpenEngine, request: TopTokensRequest) -> int:
    """Stop after the first position, and return the number of positions received."""
    count = 0
    async with contextlib.aclosing(engine.top_tokens(request)) as tops:
        async for _ in tops:
            if not count:
                await engine.stop()
            count += 1
    return count
