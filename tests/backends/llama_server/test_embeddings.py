"""Embeddings from a llama-server that paragone starts with the arguments for them."""

import math

import pytest

from paragone import EmbedRequest

REQUEST = EmbedRequest(texts=("The sea is deep.", "Nobody knows.", "The sea is deep."))


async def test_it_embeds_and_answers(wheel, open_lane, small, text):
    arguments = [*small["arguments"], "--embeddings", "--pooling", "mean"]
    lane = await open_lane(wheel, arguments=arguments)
    assert lane.loaded.capabilities.embeddings
    found = await lane.engine.embed(REQUEST)
    first, other, again = found.vectors
    assert math.hypot(*first) == pytest.approx(1, abs=1e-3)
    assert math.dist(first, again) < 0.01 < math.dist(first, other)
    events, _ = await lane.ask(temperature=0, max_tokens=8)
    assert text(events)
