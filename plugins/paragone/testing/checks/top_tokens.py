"""Checks of the likeliest tokens at the positions of a sequence, for backends that report them."""

from __future__ import annotations

import math

from paragone.backend import OpenEngine
from paragone.errors import ParagoneError
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import needs, refused
from paragone.testing.subject import Subject
from paragone.values.events import Alternative
from paragone.values.messages import TopTokensRequest

TEXT = "The sea is deep, and the sky is high above it."


class TopTokensChecks(ConformanceFixtures):
    """The method `top_tokens`."""

    async def test_top_tokens_are_ranked(self, subject: Subject) -> None:
        """Each position has its likeliest tokens in order. Backends without `top_tokens` raise an error."""
        if not subject.able.top_tokens:
            work = tops_of(subject.engine, TopTokensRequest(ids=(0, 1)))
            await refused(subject.within("top tokens", work), kind=ParagoneError)
            return
        ids = await subject.ids_of(TEXT)
        request = TopTokensRequest(ids=ids, start=2, top=4)
        found = await subject.within("top tokens", tops_of(subject.engine, request))
        assert len(found) == len(ids) - 2, f"{len(found)} positions were reported instead of {len(ids) - 2}"
        size = await subject.vocabulary_size()
        for top in found:
            check_top(top, 4, size)

    async def test_top_tokens_follow_the_sequence(self, subject: Subject) -> None:
        """The likeliest tokens depend on the tokens before a position, and not on later tokens or on earlier requests."""
        needs(subject.able.top_tokens, "the backend does not report top tokens")
        whole = await subject.ids_of(TEXT)
        likeliest = []
        for ids in (whole, whole, whole[:-1]):
            request = TopTokensRequest(ids=ids, start=1)
            found = await subject.within("top tokens", tops_of(subject.engine, request))
            likeliest.append([top[0].id for top in found])
        first, again, shorter = likeliest
        assert first == again, "the same sequence gave other tokens"
        assert first[:-1] == shorter, "a later token changed an earlier position"
        assert len(set(first)) > 1, "the same token is the likeliest everywhere"

    async def test_top_tokens_can_be_ended(self, subject: Subject) -> None:
        """`stop` ends `top_tokens` early without an error, and the engine is free for the next run."""
        needs(subject.able.top_tokens, "the backend does not report top tokens")
        ids = await subject.ids_of(subject.long_text(500))
        stream = subject.engine.top_tokens(TopTokensRequest(ids=ids))
        tops = await subject.within("ending top tokens", subject.ended(stream, stop=True))
        assert tops < len(ids), "all positions were sent, although the stop came after the first"
        await subject.still_answers()


def check_top(top: tuple[Alternative, ...], count: int, size: int) -> None:
    """Check the alternatives of one position, of a vocabulary of `size` tokens."""
    assert len(top) == count, f"{len(top)} tokens came instead of {count}"
    assert all(isinstance(token.id, int) for token in top), f"a token has no id: {top!r}"
    assert len({token.id for token in top}) == count, f"a token came twice: {top!r}"
    logprobs = [token.logprob for token in top]
    assert logprobs == sorted(logprobs, reverse=True), f"the likeliest does not come first: {logprobs}"
    assert logprobs[0] <= 0, f"a log-probability is above 0: {logprobs}"
    assert logprobs[0] >= -math.log(size), (
        f"the first token is less likely than the average token: {logprobs}"
    )


async def tops_of(engine: OpenEngine, request: TopTokensRequest) -> list[tuple[Alternative, ...]]:
    """Return the top tokens of all positions."""
    return [top async for top in engine.top_tokens(request)]
