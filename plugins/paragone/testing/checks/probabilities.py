"""Checks of tokenization and log-probabilities. Backends without them must raise errors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import pytest

from paragone.backend import Backend, OpenEngine
from paragone.errors import ParagoneError
from paragone.testing.checks.answers import check_events
from paragone.testing.fixtures import ConformanceFixtures, has_option
from paragone.testing.noise import FLOOR, Noise, check_agreement, noise_between, noise_of
from paragone.testing.runs import (
    asked,
    check_error,
    check_plain,
    collect,
    events_of,
    finish_of,
    tokens_of,
    within,
)
from paragone.values.events import Token
from paragone.values.messages import Message, RunRequest, ScoreRequest, TokenizeRequest
from paragone.values.models import Capabilities
from paragone.wire import Json

__all__ = ["ProbabilityChecks", "check_probabilities"]

SLACK = FLOOR
"""Allowed error of a log-probability in nats, because engines compute in single precision."""


class ProbabilityChecks(ConformanceFixtures):
    """`tokenize` and log-probabilities."""

    async def test_tokens_agree_with_the_run(
        self, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """A tokenized prompt is as long as the prompt of the run. Other backends raise an error."""
        request = asked("How long is this prompt?", sampling)
        wanted = TokenizeRequest(messages=request.messages, sampling=sampling)
        if not able.tokenize:
            with pytest.raises(ParagoneError) as caught:
                await within(self.patience, "tokenizing", engine.tokenize(wanted))
            check_error(caught.value)
            return
        tokenized = await within(self.patience, "tokenizing", engine.tokenize(wanted))
        check_plain(tokenized)
        assert tokenized.ids, "the prompt has no tokens"
        turns = (*request.messages, Message(role="assistant", text="Long."), *request.messages)
        longer = await within(self.patience, "tokenizing", engine.tokenize(TokenizeRequest(messages=turns)))
        assert len(longer.ids) > len(tokenized.ids), "a longer conversation does not have more tokens"
        usage = finish_of(await within(self.patience, "an answer", collect(engine, request))).usage
        assert usage.prompt_tokens in (None, len(tokenized.ids)), (
            f"{len(tokenized.ids)} tokens when tokenized, {usage.prompt_tokens} in the run"
        )

    async def test_a_text_is_tokenized(self, engine: OpenEngine, able: Capabilities) -> None:
        """A plain text has the same tokens each time, and a longer text has more tokens."""
        if not able.tokenize:
            pytest.skip("the backend does not tokenize")
        text = "The sea is deep."
        found = [
            await within(self.patience, "tokenizing", engine.tokenize(TokenizeRequest(text=part)))
            for part in (text, text, f"{text} {text}")
        ]
        assert found[0] == found[1], "tokenizing the same text twice gives different tokens"
        assert 0 < len(found[0].ids) < len(found[2].ids)
        assert min(found[0].ids) >= 0, f"invalid token ids: {found[0].ids}"
        if found[0].text is not None:
            assert text in found[0].text, f"the tokenized text is {found[0].text!r}"

    @pytest.mark.parametrize("top", [0, 3])
    async def test_log_probabilities_come_on_request(
        self, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json], top: int
    ) -> None:
        """Tokens of a run have log-probabilities and alternatives on request. Other backends report none."""
        request = asked("Say hello.", sampling, logprobs=top)
        if not able.logprobs:
            try:
                events = await within(self.patience, "an answer", collect(engine, request))
            except ParagoneError as error:
                check_error(error)
                return
            for token in tokens_of(events):
                assert token.logprob is None, (
                    f"the backend does not declare log-probabilities, but sent {token!r}"
                )
                assert not token.top, f"the backend does not declare alternatives, but sent {token!r}"
            return
        events = await within(self.patience, "an answer", collect(engine, request))
        check_events(events)
        known = [token for token in tokens_of(events) if token.logprob is not None]
        assert known, "no token has a log-probability"
        for token in tokens_of(events):
            assert token.logprob is not None or token.id is None, f"no log-probability: {token!r}"
        check_probabilities(known, top)

    async def test_no_log_probabilities_unless_requested(
        self, engine: OpenEngine, sampling: Mapping[str, Json]
    ) -> None:
        """A run without such a request has no log-probabilities."""
        events = await within(self.patience, "an answer", collect(engine, asked("Say hello.", sampling)))
        for token in tokens_of(events):
            assert token.logprob is None, f"nobody asked for {token!r}"
            assert not token.top, f"nobody asked for {token!r}"

    async def test_a_score_agrees_with_the_run(
        self, backend: Backend, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json]
    ) -> None:
        """The score of an answer has the log-probabilities that the run reported.

        This shows that masks, caches and the positions of logits are right. The allowed difference is the
        engine's own noise.
        """
        if not (able.logprobs and able.score):
            pytest.skip("the backend has no log-probabilities or no scores")
        fixed = {"max_tokens": 32, "seed": 7}
        sampling = {**sampling, **{name: fixed[name] for name in fixed if has_option(backend, name)}}
        request = asked("Name three colours.", sampling, cold=True, logprobs=0)
        events = await within(self.patience, "an answer", collect(engine, request))
        written = [token for token in tokens_of(events) if token.channel == "answer"]
        if not written or len(written) < len(tokens_of(events)):
            pytest.skip("the model thought first, so its answer does not directly follow the prompt")
        text = "".join(token.text for token in written)
        wanted = ScoreRequest(text=text, messages=request.messages)
        scored = tokens_of(await within(self.patience, "scoring", events_of(engine.score(wanted))))
        # The text may be tokenized differently from the generated tokens. Compare the common tokens.
        pairs = list(
            itertools.takewhile(
                lambda pair: pair[0].id is not None and pair[0].id == pair[1].id,
                zip(written, scored, strict=False),
            )
        )
        if not pairs:
            pytest.skip("tokenizing the answer gives other tokens than those generated")
        noise = await self.noise(engine, able, request, written, wanted)
        known = [(one.logprob, other.logprob) for one, other in pairs]
        ones = [one for one, _ in known if one is not None]
        others = [other for _, other in known if other is not None]
        assert len(ones) == len(others) == len(pairs), "a token has no log-probability"
        check_agreement(ones, others, noise, "writing and scoring")

    async def noise(
        self,
        engine: OpenEngine,
        able: Capabilities,
        request: RunRequest,
        written: Sequence[Token],
        wanted: ScoreRequest,
    ) -> Noise:
        """Measure the engine's own noise on the tokens of an answer."""
        if able.distributions and able.tokenize:
            prompt = TokenizeRequest(messages=request.messages, sampling=request.sampling)
            tokenized = await within(self.patience, "tokenizing", engine.tokenize(prompt))
            ids = [*tokenized.ids, *(token.id for token in written if token.id is not None)]
            return await within(self.patience, "distributions", noise_of(engine, ids))
        # Score the same text with its prompt in the cache and without it.
        warm = tokens_of(await within(self.patience, "scoring", events_of(engine.score(wanted))))
        other = asked("And now of the sky.", request.sampling, cold=True)
        await within(self.patience, "an answer", collect(engine, other))
        cold = tokens_of(await within(self.patience, "scoring", events_of(engine.score(wanted))))
        return noise_between(
            [token.logprob or 0.0 for token in warm], [token.logprob or 0.0 for token in cold]
        )


def check_probabilities(tokens: Sequence[Token], top: int) -> None:
    """Check that log-probabilities and alternatives are consistent."""
    for token in tokens:
        assert token.logprob is not None
        assert token.logprob <= SLACK, f"probability above 1: {token!r}"
        assert len(token.top) <= top, f"{len(token.top)} alternatives, requested were {top}"
        likely = [alternative.logprob for alternative in token.top]
        assert likely == sorted(likely, reverse=True), (
            f"alternatives are not sorted by probability: {token.top!r}"
        )
        assert sum(map(math.exp, likely)) <= 1 + SLACK, f"probabilities add up to more than 1: {token.top!r}"
        if likely:
            assert token.logprob <= likely[0] + SLACK, (
                f"the token is more likely than all alternatives: {token!r}"
            )
        for alternative in token.top:
            if token.id is not None and alternative.id == token.id:
                assert abs(alternative.logprob - token.logprob) <= SLACK, (
                    f"the token has another probability among the alternatives: {token!r}"
                )
    if top:
        assert any(token.top for token in tokens), "no token has alternatives"
