"""Distributions of the real model: rows, batches, memory, and an early end."""

import pytest

from paragone import DistributionsRequest, TokenizeRequest

pytestmark = pytest.mark.model

TEXT = "The sea is deep, and the sky is high above it. Nobody knows what lies between the two of them. " * 6


def ids_of(chat, text=TEXT):
    return chat.engine.tokenize(TokenizeRequest(text=text)).ids


def count_contexts(chat, monkeypatch):
    """Return a list to which the shape of each context for distributions is added."""
    from paragone_llama_cpp import model

    made: list[tuple[int, ...]] = []
    make = model.make_context

    def noted(pointer, options, *, n_ctx, outputs, **more):
        made.append((n_ctx, options.n_batch, outputs))
        return make(pointer, options, n_ctx=n_ctx, outputs=outputs, **more)

    monkeypatch.setattr(model, "make_context", noted)
    return made


def test_a_batch_is_computed_in_one_step(chat, monkeypatch, make_stop):
    from paragone_llama_cpp.c_api import lib

    made = count_contexts(chat, monkeypatch)
    chat.engine._model.close_extra()
    ids = ids_of(chat)[:65] * 2
    for batch, expected in ((None, 128), (1, 1), (100, 100), (10_000, 130)):
        request = DistributionsRequest(ids=ids, start=120, batch=batch)
        blocks = list(chat.engine.distributions(request, make_stop()))
        assert made[-1][1] == expected
        assert sum(block.rows for block in blocks) == 10
        context = chat.engine._model._extra
        assert lib.llama_n_ubatch(context.pointer) == context.n_batch == expected
        assert context.size == 256


def test_the_context_has_the_size_of_the_window_and_is_reused(chat, monkeypatch):
    made = count_contexts(chat, monkeypatch)
    chat.engine._model.close_extra()
    ids = ids_of(chat)
    for _ in range(3):
        chat.rows(ids[:100], start=50)
    assert made == [(256, 100, 50)]
    chat.ask("Hello", max_tokens=1)
    assert chat.engine._model._extra is None


def test_the_memory_of_the_logits_is_bounded(chat, monkeypatch):
    from paragone_llama_cpp import model

    made = count_contexts(chat, monkeypatch)
    monkeypatch.setattr(model, "_LOGITS", 16 * 4 * chat.engine.vocabulary().size)
    ids = ids_of(chat)[:100]
    assert chat.rows(ids, batch=64).shape[0] == 100
    assert made[-1] == (256, 16, 16)
    # The batch is not reduced if only a few of its rows are requested.
    assert chat.rows(ids, start=90, batch=64).shape[0] == 10
    assert made[-1] == (256, 64, 10)


def test_the_conversation_stays_in_the_cache_while_distributions_are_computed(chat):
    chat.ask("Name a fruit.", temperature=0, max_tokens=4, cold=True)
    chat.rows(ids_of(chat)[:40])
    _, again = chat.ask("Name a fruit.", temperature=0, max_tokens=4)
    assert again.usage.cached_tokens == again.usage.prompt_tokens - 1


def test_distributions_are_cancelled_inside_a_batch(chat, make_stop):
    stop = make_stop(on_subscribe=lambda stop: stop.abort())
    ids = ids_of(chat)[:120] * 8
    request = DistributionsRequest(ids=ids, batch=len(ids))
    assert list(chat.engine.distributions(request, stop)) == []
    assert chat.rows(ids[:20]).shape[0] == 20
