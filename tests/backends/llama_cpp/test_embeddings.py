"""Embeddings of the real model: their length, batches, long texts, and an early end."""

import numpy as np
import pytest

from paragone import ContextOverflow, EmbedRequest, InputError, TokenizeRequest
from paragone.gguf import Header
from paragone_llama_cpp import engine

pytestmark = pytest.mark.model

SEA = "The sea is deep, and the sky is high above it."


def vectors_of(chat, *texts, stop, ids=()):
    found = chat.engine.embed(EmbedRequest(texts=texts, ids=tuple(ids)), stop)
    return np.array(found.vectors), found.prompt_tokens


def test_a_long_text_is_embedded_in_several_batches(chat, small, make_stop):
    text = " ".join([SEA] * 12)
    assert (
        small.engine._model.context.n_batch == 64 < len(small.engine.tokenize(TokenizeRequest(text=text)).ids)
    )
    (one,), _ = vectors_of(chat, text, stop=make_stop())
    (other,), _ = vectors_of(small, text, stop=make_stop())
    assert one @ other > 0.999


def test_embeddings_do_not_affect_the_conversation(chat, make_stop):
    first = chat.ask("Say hello.", max_tokens=8, temperature=0)[0]
    vectors_of(chat, SEA, stop=make_stop())
    assert chat.engine._model._extra is not None
    assert chat.ask("Say hello.", max_tokens=8, temperature=0, cold=True)[0] == first
    assert chat.engine._model._extra is None  # its memory is free for other engines


def test_texts_that_cannot_be_embedded_are_refused(small, make_stop):
    with pytest.raises(ContextOverflow) as caught:
        vectors_of(small, "north " * 400, stop=make_stop())
    assert caught.value.context == 256 < caught.value.tokens
    with pytest.raises(InputError, match="There is no token 1000000"):
        vectors_of(small, ids=[(1, 1_000_000)], stop=make_stop())
    with pytest.raises(InputError, match="without tokens"):
        vectors_of(small, ids=[(1,), ()], stop=make_stop())
    assert vectors_of(small, SEA, stop=make_stop())[0].shape == (1, 576)


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_each_kind_of_pooling_is_computed(chat, make_stop, monkeypatch, pooling):
    """Over one token they are the same; the first state does not depend on later tokens, the last one does."""
    monkeypatch.setattr(engine, "pooling_of", lambda header: pooling)
    found, _ = vectors_of(chat, ids=[(504,), (504, 3146), (504, 3146, 28)], stop=make_stop())
    same = found[0] @ found[1:].T > 0.9999
    assert same.tolist() == ([True, True] if pooling == "first" else [False, False])


def test_the_pooling_is_read_from_the_file():
    def pooling(**values):
        return engine.pooling_of(Header(architecture="qwen3", values=values))

    assert pooling() == pooling(**{"qwen3.pooling_type": 0}) == "mean"
    assert pooling(**{"qwen3.pooling_type": 2}) == "first"
    assert pooling(**{"qwen3.pooling_type": 3}) == "last"
    assert pooling(**{"qwen3.pooling_type": 4}) is None
