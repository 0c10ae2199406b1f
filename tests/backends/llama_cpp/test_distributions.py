"""Distributions of the real model: rows, batches, memory, and an early end."""

import math
import threading

import pytest

from paragone import DistributionsRequest, InputError, TokenizeRequest, fingerprint
from paragone.testing.runs import check_agreement

pytestmark = pytest.mark.model

TEXT = "The sea is deep, and the sky is high above it. Nobody knows what lies between the two of them. " * 6


def ids_of(chat, text=TEXT):
    return chat.engine.tokenize(TokenizeRequest(text=text)).ids


@pytest.fixture(scope="module")
def noise(chat):
    """By how much the results for the text differ between batch sizes."""
    return chat.noise(ids_of(chat))


def test_rows_are_the_logits_after_each_token(chat, noise):
    ids = ids_of(chat)
    rows = chat.rows(ids)
    assert rows.shape == (len(ids), chat.engine.vocabulary().size)
    assert math.isfinite(float(rows.sum()))
    # Rows do not depend on which of them are requested.
    part = chat.rows(ids, start=len(ids) - 30)
    assert part.shape[0] == 30
    check_agreement(chat.logprobs(ids)[-20:], chat.logprobs(ids, start=len(ids) - 21), noise, "rows")
    assert chat.rows(ids, start=len(ids) - 1).shape[0] == 1


def count_contexts(chat, monkeypatch):
    """Return a list to which the shape of each context for distributions is added."""
    made: list[tuple[int, ...]] = []
    make = chat.engine._extra.make

    def noted(*shape):
        made.append(shape)
        return make(*shape)

    monkeypatch.setattr(chat.engine._extra, "make", noted)
    return made


def test_a_batch_is_computed_at_once(chat, monkeypatch, make_stop):
    from paragone_llama_cpp.c_api import lib

    made = count_contexts(chat, monkeypatch)
    chat.engine._extra.close()
    ids = ids_of(chat)[:100] * 3
    for batch, expected in ((None, 128), (1, 1), (200, 200), (10_000, 300)):
        request = DistributionsRequest(ids=ids, start=290, batch=batch)
        blocks = list(chat.engine.distributions(request, make_stop()))
        assert made[-1][1] == expected
        assert sum(block.rows for block in blocks) == 10
        context = chat.engine._extra._context
        assert lib.llama_n_ubatch(context.pointer) == context.n_batch == expected
        assert context.size == 512


def test_the_context_has_the_size_of_the_window_and_is_reused(chat, monkeypatch):
    made = count_contexts(chat, monkeypatch)
    chat.engine._extra.close()
    ids = ids_of(chat)
    for _ in range(3):
        chat.rows(ids[:100], start=50)
    assert made == [(256, 100, 50, False)]
    chat.ask("Hello", max_tokens=1)
    assert chat.engine._extra._context is None


def test_the_memory_of_the_logits_is_bounded(chat, monkeypatch):
    from paragone_llama_cpp import decoding as extra_context

    made = count_contexts(chat, monkeypatch)
    monkeypatch.setattr(extra_context, "_LOGITS", 16 * 4 * chat.engine.vocabulary().size)
    ids = ids_of(chat)[:100]
    assert chat.rows(ids, batch=64).shape[0] == 100
    assert made[-1] == (256, 16, 16, False)
    # The batch is not reduced if only a few of its rows are requested.
    assert chat.rows(ids, start=90, batch=64).shape[0] == 10
    assert made[-1] == (256, 64, 10, False)


def test_the_conversation_stays_in_the_cache(chat):
    chat.ask("Name a fruit.", temperature=0, max_tokens=4, cold=True)
    chat.rows(ids_of(chat)[:40])
    _, again = chat.ask("Name a fruit.", temperature=0, max_tokens=4)
    assert again.usage.cached_tokens == again.usage.prompt_tokens - 1


def test_distributions_are_cancelled_inside_a_batch(chat, make_stop):
    stop = make_stop(on_subscribe=lambda stop: threading.Timer(0.02, stop.ask).start())
    ids = ids_of(chat)[:120] * 8
    request = DistributionsRequest(ids=ids, batch=len(ids))
    assert list(chat.engine.distributions(request, stop)) == []
    assert chat.rows(ids[:20]).shape[0] == 20


def test_invalid_sequences_are_refused(chat, make_stop):
    def ask(ids, **options):
        return list(chat.engine.distributions(DistributionsRequest(ids=tuple(ids), **options), make_stop()))

    for options in ({"start": -1}, {"batch": 0}):
        with pytest.raises(InputError):
            ask([1, 2], **options)
    assert ask([]) == ask([1], start=1) == []


def test_the_vocabulary_is_reported(chat):
    vocab = chat.engine._vocab
    found = chat.engine.vocabulary()
    assert found.size == vocab.size
    assert found.fingerprint == fingerprint(vocab.written(token) for token in range(vocab.size))
    assert chat.engine.vocabulary() is found
