"""Fixtures for the llama.cpp backend: the real model, and synthetic GGUF files."""

import asyncio
import contextlib
import os

import pytest
from tests.gguf_writer import gguf

import paragone
from paragone.options import build
from paragone.testing.runs import BATCHES, noise_between
from paragone_llama_cpp import demo
from paragone_llama_cpp.backend import LlamaCppBackend
from paragone_llama_cpp.c_api import installed_builds


class Stop(paragone.Cancelled):
    """A test double of the worker's `Cancelled`: `ask` cancels."""

    def __init__(self, on_subscribe=None):
        self.asked = False
        self.on_cancel = None
        self.on_subscribe = on_subscribe

    def __bool__(self):
        return self.asked

    def subscribe(self, on_cancel):
        self.on_cancel = on_cancel
        if self.on_subscribe:
            self.on_subscribe(self)

    def abort(self):
        """Abort llama.cpp's next computation, as a stop in the middle of it does."""
        self.on_cancel()

    def ask(self):
        self.asked = True
        if self.on_cancel:
            self.on_cancel()


class Chat:
    """An open engine, with short methods to use it."""

    def __init__(self, engine, loaded):
        self.engine = engine
        self.loaded = loaded

    def events(self, prompt, *, cancel=None, logprobs=None, cold=False, threads=None, **sampling):
        messages = [paragone.Message(role="user", text=prompt)] if isinstance(prompt, str) else prompt
        request = paragone.RunRequest(messages=tuple(messages), logprobs=logprobs, cold=cold, threads=threads)
        options = build(self.engine.sampling, sampling)
        return list(self.engine.generate(request, options, Stop() if cancel is None else cancel))

    def count(self, messages):
        """Return the length of the rendered prompt in tokens."""
        return len(self.engine.tokenize(paragone.TokenizeRequest(messages=tuple(messages))).ids)

    def score(self, text, messages=(), *, top=0, cancel=None):
        """Return the events of a score."""
        request = paragone.ScoreRequest(text=text, messages=tuple(messages), top=top)
        return list(self.engine.score(request, Stop() if cancel is None else cancel))

    def scored(self, text, messages=(), *, top=0):
        """Return the tokens of a score."""
        return [event for event in self.score(text, messages, top=top) if isinstance(event, paragone.Token)]

    def rows(self, ids, *, start=0, batch=None, cancel=None):
        """Return a copy of the rows of the distributions after the tokens."""
        import numpy as np

        request = paragone.DistributionsRequest(ids=tuple(ids), start=start, batch=batch)
        blocks = self.engine.distributions(request, Stop() if cancel is None else cancel)
        return np.concatenate([np.asarray(block.data).copy() for block in blocks])

    def logprobs(self, ids, *, start=0, batch=None):
        """Return the log-probabilities of the tokens after `start`, from the distributions before them."""
        import numpy as np

        rows = self.rows(ids[:-1], start=start, batch=batch).astype(np.float64)
        rows -= np.logaddexp.reduce(rows, axis=1)[:, None]
        return rows[np.arange(len(rows)), list(ids[start + 1 :])].tolist()

    def noise(self, ids):
        """Return by how much the engine's results differ between batch sizes, for these tokens."""
        own = self.logprobs(ids)
        found = [noise_between(own, self.logprobs(ids, batch=batch)) for batch in BATCHES]
        return max(mean for mean, _ in found), max(largest for _, largest in found)

    def ask(self, prompt, **options):
        """Return the text of the answer and its Finish."""
        events = self.events(prompt, **options)
        text = "".join(event.text for event in events if isinstance(event, paragone.Token))
        assert isinstance(events[-1], paragone.Finish)
        return text, events[-1]


@pytest.fixture(scope="session")
def model_path(smollm2):
    if not installed_builds():
        pytest.skip("llama.cpp is not installed")
    return str(smollm2)


@pytest.fixture(scope="session")
def whole_model_path(whole_smollm2):
    if not installed_builds():
        pytest.skip("llama.cpp is not installed")
    return str(whole_smollm2)


@pytest.fixture(scope="session")
def demo_cache(whole_model_path, tmp_path_factory):
    """The folder with both models of the demo, where a program had been killed while it made the second one."""
    cache = tmp_path_factory.mktemp("demo") / "not" / "there"
    left = cache / f"{demo._ASIDE}left"
    left.mkdir(parents=True)
    (left / demo._MADE).write_bytes(b"GGUF")
    os.utime(left, (0, 0))  # long ago
    asyncio.run(LlamaCppBackend().demo(str(cache)))
    return cache


@contextlib.contextmanager
def chats(model_path):
    """Yield a function that opens engines in this process; they are closed at the end."""
    from paragone_llama_cpp.engine import LlamaCppEngine

    opened = []

    def open_it(path=model_path, *, report=lambda fraction: None, stop=None, **options):
        engine = LlamaCppEngine()
        request = paragone.OpenRequest(model=str(path), threads=1)
        built = build(engine.load_options, {"n_ctx": 512, **options})
        chat = Chat(engine, engine.load(request, built, report, Stop() if stop is None else stop))
        opened.append(chat)
        return chat

    yield open_it
    for chat in opened:
        chat.engine.close()


@pytest.fixture
def open_chat(model_path):
    """A function that opens an engine in this process with load options, until the end of the test."""
    with chats(model_path) as open_it:
        yield open_it


@pytest.fixture(scope="session")
def chat(model_path):
    """The real model with its own template, shared by all tests."""
    with chats(model_path) as open_it:
        yield open_it(n_ctx=1024)


@pytest.fixture(scope="session")
def small(model_path):
    """The real model with a small context, shared by the tests that fill it."""
    with chats(model_path) as open_it:
        yield open_it(n_ctx=256, n_batch=64)


@pytest.fixture(scope="session")
def make_gguf():
    return gguf


@pytest.fixture(scope="session")
def make_stop():
    return Stop
