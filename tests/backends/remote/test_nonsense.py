"""Implausible values in replies: they are ignored and break neither the answer nor the JSON."""

import json

import pytest
from hostile_server import OLLAMA

from paragone import Caution, OpenRequest, Token
from paragone.wire import to_json

ENDLESS = "1" + "0" * 400
"""A whole number that no float holds; Python's JSON reads it all the same."""


def end(protocol, *, count, time):
    """Return the end of an answer whose counts and durations are these."""
    if protocol.name == "ollama":
        counts = f'"prompt_eval_count": {count}, "eval_count": {count}, "load_duration": {time}'
        times = f'"prompt_eval_duration": {time}, "eval_duration": {time}'
        return protocol.raw(
            f'{{"message": {{"role": "assistant", "content": ""}}, "done": true, {counts}, {times}}}'.encode()
        )
    usage = f'"usage": {{"prompt_tokens": {count}, "completion_tokens": {count}}}'
    timings = f'"timings": {{"prompt_ms": {time}, "predicted_ms": {time}}}'
    last = f'{{"choices": [{{"delta": {{}}, "finish_reason": "stop"}}], {usage}, {timings}}}'
    return protocol.raw(last.encode()) + b"data: [DONE]\n\n"


def numbers(protocol):
    """Return what each protocol's client lets through: Ollama's wants whole numbers of its own."""
    whole = [ENDLESS, "1" + "0" * 30, "-5"]
    return whole if protocol is OLLAMA else [*whole, "NaN", "Infinity", "-Infinity", "1e400"]


async def test_implausible_counts_and_times_are_unknown(hostile, protocol, open_lane, text):
    lane = await open_lane(hostile)
    for number in numbers(protocol):
        last = end(protocol, count=number, time=number)
        hostile.on_chat = lambda exchange, last=last: exchange.stream("Hi", last)
        events, error = await lane.ask()
        assert error is None, number
        assert text(events) == "Hi"
        assert not [event for event in events if isinstance(event, Caution)], number
        finish = events[-1]
        assert (finish.usage.prompt_tokens, finish.usage.completion_tokens) == (None, None)
        assert (finish.timings.prefill_s, finish.timings.decode_s) == (None, None)


async def test_a_duration_of_almost_zero_gives_no_rate(hostile, protocol, open_lane):
    """Else there are infinite tokens a second."""

    hostile.on_chat = lambda exchange: exchange.stream(
        end(protocol, count=9, time="1e-300" if protocol is not OLLAMA else "0")
    )
    events, _ = await (await open_lane(hostile)).ask()
    assert events[-1].timings.decode_s == 0


@pytest.mark.parametrize("number", [ENDLESS, "NaN"], ids=["endless", "nan"])
async def test_implausible_log_probabilities_are_unknown(hostile, protocol, answered, number):
    others = f'[{{"token": "Ho", "logprob": {number}}}]'
    one = f'{{"token": "Hi", "logprob": {number}, "top_logprobs": {others}}}'
    two = f'{{"token": "!", "logprob": -0.5, "top_logprobs": {others}}}'

    def piece(said, scored):
        if protocol is OLLAMA:
            message = f'"message": {{"role": "assistant", "content": "{said}"}}'
            return protocol.raw(f'{{{message}, "done": false, "logprobs": [{scored}]}}'.encode())
        choice = f'{{"delta": {{"content": "{said}"}}, "logprobs": {{"content": [{scored}]}}}}'
        return protocol.raw(f'{{"choices": [{choice}]}}'.encode())

    parts = piece("Hi", one), piece("!", two), protocol.end()
    events = await answered(hostile, lambda exchange: exchange.stream(*parts), logprobs=2)
    tokens = [event for event in events if isinstance(event, Token)]
    assert [(token.logprob, token.top) for token in tokens] == [(None, ()), (-0.5, ())]


@pytest.mark.parametrize("number", [ENDLESS], ids=["endless"])
async def test_implausible_sizes_and_contexts_are_unknown(hostile, protocol, backend, number):
    def told(data):
        return json.dumps(data).replace('"NUMBER"', number)

    if protocol is OLLAMA:
        hostile.replies["/api/tags"] = told({"models": [{"model": "m", "size": "NUMBER"}]})
        loaded = {"model": "m:latest", "size": "NUMBER", "size_vram": "NUMBER", "context_length": "NUMBER"}
        hostile.replies["/api/ps"] = told({"models": [loaded]})
        info = {"general.architecture": "a", "a.context_length": "NUMBER"}
        # more digits than Python reads at once
        hostile.replies["/api/show"] = told({"model_info": info, "parameters": f"num_ctx {'9' * 5000}"})
        hostile.replies["/api/version"] = {"version": f"0.{'9' * 5000}.1"}
    else:
        meta = {"size": "NUMBER", "n_ctx_train": "NUMBER"}
        hostile.replies["/v1/models"] = told({"data": [{"id": "m", "max_model_len": "NUMBER", "meta": meta}]})
        settings = {"n_ctx": "NUMBER"}
        hostile.replies["/props"] = told({"total_slots": 1, "default_generation_settings": settings})
    report = await backend.endpoint({"url": hostile.url})
    assert report.probe.usable, report.probe
    engine = await backend.open(OpenRequest(model="m", options={"url": hostile.url}), lambda progress: None)
    try:
        assert engine.loaded.size is None
        assert engine.loaded.context is None or engine.loaded.context <= 8192
        json.dumps(to_json(engine.loaded), allow_nan=False)
    finally:
        await engine.close()
