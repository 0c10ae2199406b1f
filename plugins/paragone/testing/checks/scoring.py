"""Checks of the log-probabilities of a given text, for backends that compute them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import pytest

from paragone.backend import OpenEngine
from paragone.errors import ParagoneError
from paragone.testing.checks.answers import check_events
from paragone.testing.checks.probabilities import check_probabilities
from paragone.testing.checks.stopping import StoppingBase
from paragone.testing.runs import asked, check_error, events_of, finish_of, tokens_of, within, words
from paragone.values.events import Event, PromptProgress, Token
from paragone.values.messages import ScoreRequest
from paragone.values.models import Capabilities
from paragone.wire import Json

__all__ = ["ScoreChecks"]

TEXT = "The sea is deep, 海は深い, and the sky is high above it."


class ScoreChecks(StoppingBase):
    """`score`: its tokens, its events, and an early end."""

    @pytest.mark.parametrize("answering", [False, True], ids=["alone", "as an answer"])
    async def test_a_text_is_scored(self, engine: OpenEngine, able: Capabilities, answering: bool) -> None:
        """The tokens of a given text have log-probabilities and bytes. Other backends raise an error."""
        messages = asked("Tell me of the sea.", {}).messages if answering else ()
        request = ScoreRequest(text=TEXT, messages=messages, top=2)
        if not able.score:
            with pytest.raises(ParagoneError) as caught:
                await within(self.patience, "scoring", events_of(engine.score(request)))
            check_error(caught.value)
            return
        events = await within(self.patience, "scoring", events_of(engine.score(request)))
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

    @pytest.mark.parametrize("how", ["stopped", "left"])
    async def test_a_score_can_be_stopped(
        self, engine: OpenEngine, able: Capabilities, sampling: Mapping[str, Json], how: str
    ) -> None:
        """A score can be stopped like a run, and the engine is free for the next one."""
        if not able.score:
            pytest.skip("the backend does not score")
        request = ScoreRequest(text=words(min(3000, (engine.loaded.context or 3000) // 3)))
        if how == "left":
            await within(self.patience, "leaving a score", left(engine, request))
        else:
            await self.stops(engine, lambda: engine.score(request), tokens=0)
        await self.next_run_works(engine, sampling)


async def left(engine: OpenEngine, request: ScoreRequest) -> None:
    """Close a score after its first event."""
    async with contextlib.aclosing(engine.score(request)) as stream:
        async for _ in stream:
            return


def check_progress(events: Sequence[Event]) -> None:
    """Check that the progress of a score has a constant total and reaches it."""
    finish_of(list(events))
    progress = [event for event in events if isinstance(event, PromptProgress)]
    assert progress, "no PromptProgress was sent"
    totals = {event.total for event in progress}
    assert len(totals) == 1, f"the totals of the progress differ: {sorted(totals)}"
    assert progress[-1].done == progress[-1].total, f"the progress ended at {progress[-1]!r}"
    scored = sum(isinstance(event, Token) for event in events)
    assert scored <= progress[-1].total, f"{scored} tokens were scored, but the progress counts {totals}"
