"""Checks of the log-probabilities of a given text, for backends that compute them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from paragone.errors import ParagoneError
from paragone.testing.checks.probabilities import check_probabilities
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.noise import check_agreement, noise_of
from paragone.testing.runs import check_events, finish_of, needs, refused, tokens_of
from paragone.testing.subject import Subject
from paragone.values.events import Event, PromptProgress, Token
from paragone.values.messages import ScoreRequest

TEXT = "The sea is deep, 海は深い, and the sky is high above it."


class ScoreChecks(ConformanceFixtures):
    """`score`: its tokens, its events, and an early end."""

    @pytest.mark.parametrize("answering", [False, True], ids=["alone", "as an answer"])
    async def test_a_text_is_scored(self, subject: Subject, answering: bool) -> None:
        """The tokens of a given text have log-probabilities and numbers of bytes. Backends without `score` raise an error."""
        messages = subject.asked("Tell me of the sea.").messages if answering else ()
        request = ScoreRequest(text=TEXT, messages=messages, top=2)
        if not subject.able.score:
            await refused(subject.score(request), kind=ParagoneError)
            return
        events = await subject.score(request)
        check_events(events, scoring=True)
        tokens = tokens_of(events)
        assert tokens, "the score has no tokens"
        for token in tokens:
            assert token.logprob is not None, f"no log-probability: {token!r}"
            assert token.n_bytes is not None, f"no bytes: {token!r}"
        check_probabilities(tokens, 2)
        check_progress(events)
        text = "".join(token.text for token in tokens)
        scored = text.strip()
        if answering:  # the first token may also contain the end of the prompt
            assert scored.endswith(TEXT), f"the scored text is {scored!r}"
        else:
            assert len(scored) > len(TEXT) / 2, f"the scored text is {scored!r}"
            assert TEXT.endswith(scored), f"the scored text is {scored!r}"
        n_bytes = sum(token.n_bytes or 0 for token in tokens)
        assert n_bytes == len(text.encode()), (
            f"n_bytes add up to {n_bytes}, but the text has {len(text.encode())} bytes"
        )

    async def test_tokens_are_scored_as_their_text(self, subject: Subject) -> None:
        """The tokens of a text have the same scores as the text itself. The first token has no log-probability."""
        able = subject.able
        needs(able.score and able.token_ids and able.distributions, "the backend does not score token ids")
        ids = await subject.ids_of(TEXT)
        scored = tokens_of(await subject.score(ScoreRequest(text=TEXT)))
        given = tokens_of(await subject.score(ScoreRequest(ids=ids)))
        assert tuple(token.id for token in given) == ids, "the tokens are not the given ones"
        assert given[0].logprob is None
        later = given[len(given) - len(scored) :]
        assert [token.id for token in later] == [token.id for token in scored]
        noise = await subject.within("distributions", noise_of(subject.engine, ids))
        check_agreement(
            [token.logprob or 0.0 for token in later],
            [token.logprob or 0.0 for token in scored],
            noise,
            "scores of tokens and of their text",
        )

    @pytest.mark.parametrize("how", ["stopped", "left"])
    async def test_a_score_can_be_stopped(self, subject: Subject, how: str) -> None:
        """`stop` ends a score as it ends a run, and the engine is free for the next job."""
        needs(subject.able.score, "the backend does not score")
        request = ScoreRequest(text=subject.long_text(3000))
        if how == "left":
            stream = subject.engine.score(request)
            await subject.within("leaving a score", subject.ended(stream, stop=False))
            await subject.still_answers()
        else:
            await subject.stops(lambda: subject.engine.score(request), tokens=0)


def check_progress(events: Sequence[Event]) -> None:
    """Check that the progress of a score has a constant total, and that the last progress reaches this total."""
    finish_of(events)
    progress = [event for event in events if isinstance(event, PromptProgress)]
    assert progress, "no PromptProgress was sent"
    totals = {event.total for event in progress}
    assert len(totals) == 1, f"the totals of the progress differ: {sorted(totals)}"
    assert progress[-1].done == progress[-1].total, f"the progress ended at {progress[-1]!r}"
    scored = sum(isinstance(event, Token) for event in events)
    assert scored <= progress[-1].total, f"{scored} tokens were scored, but the progress counts {totals}"
