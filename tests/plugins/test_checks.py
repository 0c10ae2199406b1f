"""What the checks of plugins' values let pass, and the sentences about the rest."""

import math
from typing import Any

import pytest

from paragone import (
    Alternative,
    DeviceMemory,
    Finish,
    MemoryEstimate,
    ModelInfo,
    Probe,
    RunSettings,
    Timings,
    Token,
    TokenizedText,
    Usage,
)
from paragone.checks import MAX_TEXT, check_event, check_value
from paragone.errors import InterfaceViolation

ALTERNATIVE = Alternative(text="a", id=1, logprob=-0.5)


def wrong(value: object) -> Any:
    """Return a value where its type is not allowed."""
    return value


def test_valid_events_pass_the_checks():
    for event in (
        Token(text="a", channel="thinking", id=1, logprob=-1.5, top=(ALTERNATIVE,), n_bytes=1, time=1.0),
        Token(text="a", logprob=0, time=1),
        RunSettings(seed=-1, sampling={"top_k": -1, "stop": []}, prompt="p" * (MAX_TEXT + 1), prompt_ids=(1, 2)),
        Finish(reason="stop", usage=Usage(prompt_tokens=1), timings=Timings(decode_s=0.5), time=2.0),
    ):  # fmt: skip
        assert check_event(event) == event


def test_invalid_events_are_refused_with_the_reason():
    for event, mistake in (
        (None, "an event was expected, not None"),
        (Token(text=wrong(7), time=1.0), "a Token is wrong: text: expected str, not int"),
        (Token(text="a", time=math.nan), "Token.time is nan"),
        (Token(text="a", id=-1, time=1.0), "Token.id is negative: -1"),
        (Token(text="a", channel=wrong("news"), time=1.0), "channel: 'news' is not one of 'answer', 'thinking'"),
        (Token(text="x" * (MAX_TEXT + 1), time=1.0), "Token.text has 1,048,577 characters, and at most 1,048,576"),
        (Token(text="a", top=(Alternative(text="b", logprob=math.inf),), time=1.0), "Token.top.logprob is inf"),
        (RunSettings(sampling={"a": wrong(object())}), "a RunSettings is wrong: object cannot be converted to JSON"),
    ):  # fmt: skip
        with pytest.raises(InterfaceViolation) as caught:
            check_event(event)
        assert mistake in str(caught.value)


def test_invalid_values_are_refused_with_the_reason():
    itself: dict[str, Any] = {}
    itself["facts"] = itself
    negative = (DeviceMemory(device="CPU", weights=1, kv_cache=-1, compute=1),)
    cases: list[tuple[type[Any], Any, str]] = [
        (Probe, Probe(usable=True, facts={"a": wrong(math.nan)}), "Probe.facts.a is nan"),
        (Probe, Probe(usable=True, facts=itself), "a Probe is wrong"),
        (Probe, ModelInfo(model="m", name="m"), "a Probe was expected, not a value of the type ModelInfo"),
        (ModelInfo, ModelInfo(model="m", name="m", size=10**5000), "ModelInfo.size is too large a number"),
        (
            MemoryEstimate,
            MemoryEstimate(context=1, devices=negative),
            "MemoryEstimate.devices.kv_cache is negative: -1",
        ),
        (TokenizedText, TokenizedText(text="a", ids=(1, -1)), "TokenizedText.ids is negative: -1"),
    ]
    for kind, value, mistake in cases:
        with pytest.raises(InterfaceViolation) as caught:
            check_value(kind, value)
        assert mistake in str(caught.value)
