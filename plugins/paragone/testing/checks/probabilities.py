"""Checks of tokenization and log-probabilities. Backends without these features must raise errors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest

from paragone.errors import ParagoneError
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.noise import FLOOR, Noise, check_agreement, noise_between, noise_of
from paragone.testing.runs import check_error, check_events, check_plain, finish_of, needs, refused, tokens_of
from paragone.testing.subject import Subject
from paragone.values.events import Event, Token
from paragone.values.messages import Message, RunRequest, ScoreRequest, TokenizeRequest

SLACK = FLOOR
"""Allowed error of a log-probability in nats, because engines compute in single precision."""

FIXED = {"max_tokens": 32, "seed": 7}
"""Options of an answer that is scored."""


class ProbabilityChecks(ConformanceFixtures):
    """The method `tokenize`, and log-probabilities of runs."""

    async def test_tokens_agree_with_the_run(self, subject: Subject) -> None:
        """`tokenize` counts as many tokens as the run's prompt has. Backends without `tokenize` raise an error."""
        request = subject.asked("How long is this prompt?")
        if not subject.able.tokenize:
            await refused(subject.prompt_of(request), kind=ParagoneError)
            return
        tokenized = await subject.prompt_of(request)
        check_plain(tokenized)
        assert tokenized.ids, "the prompt has no tokens"
        counted = await subject.tokenize(TokenizeRequest(messages=request.messages, count_only=True))
        assert counted.length == len(tokenized.ids), (
            f"{len(tokenized.ids)} tokens when tokenized, {counted.length} when counted"
        )
        turns = (*request.messages, Message(role="assistant", text="Long."), *request.messages)
        longer = await subject.tokenize(TokenizeRequest(messages=turns))
        assert len(longer.ids) > len(tokenized.ids), "a longer conversation does not have more tokens"
        usage = finish_of(await subject.run(request)).usage
        assert usage.prompt_tokens in (None, len(tokenized.ids)), (
            f"{len(tokenized.ids)} tokens when tokenized, {usage.prompt_tokens} in the run"
        )

    async def test_a_text_is_tokenized(self, subject: Subject) -> None:
        """A plain text has the same tokens each time, and a longer text has more tokens."""
        needs(subject.able.tokenize, "the backend does not tokenize")
        text = "The sea is deep."
        once, again, twice = [
            await subject.tokenize(TokenizeRequest(text=part)) for part in (text, text, f"{text} {text}")
        ]
        assert once == again, "tokenizing the same text twice gives different tokens"
        assert 0 < len(once.ids) < len(twice.ids)
        assert min(once.ids) >= 0, f"invalid token ids: {once.ids}"
        if once.text is not None:
            assert text in once.text, f"the tokenized text is {once.text!r}"

    @pytest.mark.parametrize("top", [0, 3])
    async def test_log_probabilities_come_on_request(self, subject: Subject, top: int) -> None:
        """Tokens have log-probabilities and alternatives on request, if the backend has the capability `logprobs`."""
        request = subject.asked(logprobs=top)
        if not subject.able.logprobs:
            try:
                check_bare(await subject.run(request), "the backend does not declare log-probabilities")
            except ParagoneError as error:
                check_error(error)
            return
        events = await subject.run(request)
        check_events(events)
        known = [token for token in tokens_of(events) if token.logprob is not None]
        assert known, "no token has a log-probability"
        for token in tokens_of(events):
            assert token.logprob is not None or token.id is None, f"no log-probability: {token!r}"
        check_probabilities(known, top)

    async def test_no_log_probabilities_unless_requested(self, subject: Subject) -> None:
        """A run whose request asks for no log-probabilities reports none."""
        check_bare(await subject.run(subject.asked()), "nobody asked for log-probabilities")

    async def test_a_score_agrees_with_the_run(self, subject: Subject) -> None:
        """The score of an answer has the log-probabilities that the run reported.

        Equal log-probabilities show that masks, caches and the positions of logits are right. The allowed difference is the
        engine's own noise.
        """
        able = subject.able
        needs(able.logprobs and able.score, "the backend has no log-probabilities or no scores")
        fixed = {name: value for name, value in FIXED.items() if subject.has_option(name)}
        request = subject.asked("Name three colours.", fixed, cold=True, logprobs=0)
        tokens = tokens_of(await subject.run(request))
        written = [token for token in tokens if token.channel == "answer"]
        needs(
            0 < len(written) == len(tokens),
            "the model thought first, so its answer does not directly follow the prompt",
        )
        text = "".join(token.text for token in written)
        wanted = ScoreRequest(text=text, messages=request.messages)
        scored = tokens_of(await subject.score(wanted))
        # The text may be tokenized differently from the generated tokens. Compare the common tokens.
        pairs = list(
            itertools.takewhile(
                lambda pair: pair[0].id is not None and pair[0].id == pair[1].id,
                zip(written, scored, strict=False),
            )
        )
        needs(bool(pairs), "tokenizing the answer gives other tokens than those generated")
        noise = await noise_in(subject, request, written, wanted)
        ones = [one.logprob for one, _ in pairs if one.logprob is not None]
        others = [other.logprob for _, other in pairs if other.logprob is not None]
        assert len(ones) == len(others) == len(pairs), "a token has no log-probability"
        check_agreement(ones, others, noise, "writing and scoring")


async def noise_in(
    subject: Subject, request: RunRequest, written: Sequence[Token], wanted: ScoreRequest
) -> Noise:
    """Measure the engine's own noise on the tokens of an answer."""
    if subject.able.distributions and subject.able.tokenize:
        prompt = await subject.prompt_of(request)
        ids = [*prompt.ids, *(token.id for token in written if token.id is not None)]
        return await subject.within("distributions", noise_of(subject.engine, ids))
    # Score the same text with its prompt in the cache and without the cache.
    warm = tokens_of(await subject.score(wanted))
    await subject.run(subject.asked("And now of the sky.", request.sampling, cold=True))
    cold = tokens_of(await subject.score(wanted))
    return noise_between([token.logprob or 0.0 for token in warm], [token.logprob or 0.0 for token in cold])


def check_bare(events: Sequence[Event], why: str) -> None:
    """Check that the tokens of a run have no log-probabilities and no alternatives."""
    for token in tokens_of(events):
        assert token.logprob is None, f"{why}, but this was sent: {token!r}"
        assert not token.top, f"{why}, but this was sent: {token!r}"


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
