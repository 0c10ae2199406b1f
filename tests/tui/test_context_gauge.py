"""The gauge above the prompt."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from paragone_tui.screens.lanes import composer as context_gauge
from paragone_tui.screens.lanes.attachments import Draft, PastedTexts
from paragone_tui.screens.lanes.composer import ContextGauge, _content
from paragone_workbench.lanes import forecast as forecasting
from paragone_workbench.lanes.forecast import Forecast


def forecast(lane, tokens, context=1000, **more):
    return Forecast(lane=lane, tokens=tokens, context=context, **{"left_out": 0, **more})


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], ""),
        ([forecast("a", 500)], "500 of 1,000 tokens ███░░░"),
        (
            [forecast("a", 500, added=47), forecast("b", 400, added=47)],
            "47 more, a 500 of 1,000, b 400 of 1,000 tokens ███░░░",
        ),
        (
            [forecast("a", 500), forecast("b", 600), forecast("c", 400)],
            "fullest: b 600 of 1,000 tokens ███▋░░",
        ),
        (
            [forecast("a", 500, left_out=2), forecast("b", 2000)],
            "a will leave out the oldest 2 messages · b will refuse: 2,000 tokens, its context holds 1,000 · "
            "a 500 of 1,000 tokens ██████",
        ),
    ],
)
def test_what_it_shows(found, text):
    assert _content(found).plain == text


class Session:
    """A test double of a session with one lane, whose engine is open."""

    def __init__(self) -> None:
        record = SimpleNamespace(head="an answer")
        self.lanes = [SimpleNamespace(record=record, engine=SimpleNamespace(opened=self.answered))]

    async def answered(self) -> None:
        pass


async def test_a_draft_is_counted_anew_in_another_conversation(monkeypatch):
    session = Session()

    async def forecasts(session: Session, *_: object, **__: object) -> list[Forecast]:
        return [forecast("a", 64 if session.lanes[0].record.head else 12)]

    monkeypatch.setattr(forecasting, "forecasts", forecasts)
    monkeypatch.setattr(context_gauge, "_PAUSE", 0.0)
    changed = asyncio.Event()
    gauge = ContextGauge(cast("Any", session), changed.set)
    draft = Draft(typed="Why?", pasted=PastedTexts())
    for head, tokens in (("an answer", "64"), (None, "12")):
        session.lanes[0].record.head = head
        changed.clear()
        gauge.follow(draft, None)
        await asyncio.wait_for(changed.wait(), 60)
        assert gauge.content.plain.startswith(f"{tokens} of 1,000 tokens")
