"""Counting tokens and telling their probabilities, for backends that can; the others say that they cannot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from paragone.backend import Backend, OpenEngine
from paragone.errors import ParagoneError
from paragone.events import Token
from paragone.messages import Message, ScoreRequest
from paragone.testing.answers import check_events
from paragone.testing.asking import asked, check_error, check_plain, collect, finish_of, tokens_of, within
from paragone.testing.setting import Setting
from paragone.wire import Json

__all__ = ["ProbabilityChecks"]

SLACK = 1e-3
"""What log-probabilities may be wrong by: engines compute in single precision."""

AGREEMENT = 0.1
"""What they may differ by, or by this part of themselves, where the same is computed in other batches."""


class ProbabilityChecks(Setting):
    """`count`, `score` and log-probabilities."""

    async def test_count_agrees_with_the_run(
        self, backend: Backend, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """A prompt counted is as long as the prompt run; who cannot count says so."""
        request = asked("How long is this prompt?", sampling)
        if not backend.capabilities.count:
            with pytest.raises(ParagoneError) as caught:
                await within(self.patience, "counting", engine.count(request.messages))
            check_error(caught.value)
            return
        counted = await within(self.patience, "counting", engine.count(request.messages))
        longer = (*request.messages, Message(role="assistant", text="Long."), *request.messages)
        assert 0 < counted < await within(self.patience, "counting", engine.count(longer))
        usage = finish_of(await within(self.patience, "an answer", collect(engine, request))).usage
        assert usage.prompt_tokens in (None, counted), f"{counted} counted, {usage.prompt_tokens} run"

    @pytest.mark.parametrize("top", [0, 3])
    async def test_log_probabilities_come_when_asked_for(
        self, backend: Backend, engine: OpenEngine, sampling: Mapping[str, Json], top: int
    ) -> None:
        """Tokens of a run have them, with the alternatives asked for; a backend that cannot makes none up."""
        request = asked("Say hello.", sampling, logprobs=top)
        if not backend.capabilities.logprobs:
            try:
                events = await within(self.patience, "an answer", collect(engine, request))
            except ParagoneError as error:
                check_error(error)
                return
            for token in tokens_of(events):
                assert token.logprob is None, f"a log-probability from a backend that has none: {token!r}"
                assert not token.top, f"alternatives from a backend that has none: {token!r}"
            return
        events = await within(self.patience, "an answer", collect(engine, request))
        check_events(events)
        known = [token for token in tokens_of(events) if token.logprob is not None]
        assert known, "no token has a log-probability"
        for token in tokens_of(events):
            assert token.logprob is not None or token.id is None, f"no log-probability: {token!r}"
        check_probabilities(known, top)

    async def test_no_log_probabilities_unless_asked_for(
        self, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """A run that did not ask for them does not pay for them."""
        events = await within(self.patience, "an answer", collect(engine, asked("Say hello.", sampling)))
        for token in tokens_of(events):
            assert token.logprob is None, f"nobody asked for {token!r}"
            assert not token.top, f"nobody asked for {token!r}"

    @pytest.mark.parametrize("answering", [False, True], ids=["alone", "as an answer"])
    async def test_a_text_is_scored(self, backend: Backend, engine: OpenEngine, answering: bool) -> None:
        """The tokens of a given text have log-probabilities; who cannot tell them says so."""
        text = "The sea is deep, and the sky is high above it."
        messages = asked("Tell me of the sea.", {}).messages if answering else ()
        request = ScoreRequest(text=text, messages=messages, top=2)
        if not backend.capabilities.score:
            with pytest.raises(ParagoneError) as caught:
                await within(self.patience, "scoring", engine.score(request))
            check_error(caught.value)
            return
        tokens = await within(self.patience, "scoring", engine.score(request))
        for token in tokens:
            check_plain(token)
            assert token.logprob is not None, f"no log-probability: {token!r}"
        check_probabilities(tokens, 2)
        scored = "".join(token.text for token in tokens).strip()
        if answering:  # a token at the seam may hold the prompt's end as well
            assert scored.endswith(text), f"scored was {scored!r}"
        else:
            assert len(scored) > len(text) / 2, f"scored was {scored!r}"
            assert text.endswith(scored), f"scored was {scored!r}"

    async def test_a_score_agrees_with_the_run(
        self, backend: Backend, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """An answer that is scored has the log-probabilities that it had as it was written.

        Two ways through the model come to the same: masks, caches and the places of logits are right.
        """
        if not (backend.capabilities.logprobs and backend.capabilities.score):
            pytest.skip("it cannot do both")
        request = asked("Name three colours.", sampling, logprobs=0)
        events = await within(self.patience, "an answer", collect(engine, request))
        written = [token for token in tokens_of(events) if token.channel == "answer"]
        if not written or len(written) < len(tokens_of(events)):
            pytest.skip("the model thought first: its answer does not follow the prompt")
        text = "".join(token.text for token in written)
        scored = await within(
            self.patience, "scoring", engine.score(ScoreRequest(text=text, messages=request.messages))
        )
        same = 0
        for one, other in zip(written, scored, strict=False):
            if one.id is None or one.id != other.id:
                break  # the text is read in other tokens than it was written in
            assert one.logprob is not None
            assert other.logprob is not None
            near = max(AGREEMENT, AGREEMENT * abs(one.logprob))
            assert abs(one.logprob - other.logprob) <= near, f"written {one!r}, scored {other!r}"
            same += 1
        if not same:
            pytest.skip("the answer is read in other tokens than it was written in")


def check_probabilities(tokens: Sequence[Token], top: int) -> None:
    """Check that log-probabilities and alternatives can be what they say."""
    for token in tokens:
        assert token.logprob is not None
        assert token.logprob <= SLACK, f"a probability above 1: {token!r}"
        assert len(token.top) <= top, f"{top} alternatives wanted, {len(token.top)} came"
        likely = [alternative.logprob for alternative in token.top]
        assert likely == sorted(likely, reverse=True), f"the likeliest is not first: {token.top!r}"
        assert sum(map(math.exp, likely)) <= 1 + SLACK, f"probabilities add up to more than 1: {token.top!r}"
        if likely:
            assert token.logprob <= likely[0] + SLACK, f"likelier than the likeliest: {token!r}"
        for alternative in token.top:
            if token.id is not None and alternative.id == token.id:
                assert abs(alternative.logprob - token.logprob) <= SLACK, f"two probabilities: {token!r}"
    if top:
        assert any(token.top for token in tokens), "no token has alternatives"
