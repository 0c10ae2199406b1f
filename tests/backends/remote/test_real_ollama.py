"""A real Ollama server with SmolLM2; skipped unless `make ollama` has built it."""

import contextlib
import json
import signal
import urllib.request

import psutil
import pytest
import pytest_asyncio

from paragone import Caution, ContextOverflow, EngineError, Message, OpenRequest, RunRequest, Token
from paragone.testing import BackendConformance
from paragone_remote.backend import OllamaBackend

pytestmark = pytest.mark.model

OPTIONS = {"num_ctx": 1024, "num_thread": 1}


class TestConformance(BackendConformance):
    patience = 300.0  # beside other work, llama.cpp's threads wait for each other, and are ten times slower

    @pytest.fixture
    def backend(self):
        return OllamaBackend()

    @pytest.fixture
    def opening(self, ollama_server):
        return OpenRequest(model="smollm2", options={"url": ollama_server, **OPTIONS})

    @pytest.fixture
    def sampling(self):
        return {"max_tokens": 12}


def get(url, body=None):
    """Ask a server without any of the code under test."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def running(url):
    return {model["model"]: model["context_length"] for model in get(f"{url}/api/ps")["models"]}


@pytest_asyncio.fixture
async def opened(ollama_server):
    engines = []

    async def open_it(*, model="smollm2", **options):
        request = OpenRequest(model=model, options={"url": ollama_server, **OPTIONS, **options})
        engines.append(await OllamaBackend().open(request, lambda progress: None))
        return engines[-1]

    yield open_it
    for engine in engines:
        await engine.close()


async def drain(stream):
    async for _ in stream:
        pass


def asking(text, **sampling):
    return RunRequest(messages=(Message(role="user", text=text),), sampling={"temperature": 0, **sampling})


async def test_closing_keeps_models_that_were_loaded_before_or_have_keep_alive(ollama_server, opened):
    first = await opened()
    (listed,) = [model for model in get(f"{ollama_server}/api/tags")["models"] if "smollm2" in model["model"]]
    (weights,) = first.loaded.weights
    assert (weights.path, weights.sha256) == (listed["model"], listed["digest"].removeprefix("sha256:"))
    assert (weights.size, weights.modified_ns) == (None, None)
    second = await opened(keep_alive="10m")
    await first.close()
    assert "smollm2:latest" in running(ollama_server)
    await second.close()
    assert "smollm2:latest" in running(ollama_server)
    get(f"{ollama_server}/api/generate", {"model": "smollm2", "keep_alive": 0})


async def test_a_conversation_that_does_not_fit_is_refused(opened):
    """Left to itself, the server drops the oldest turns and answers the last."""
    engine = await opened(num_ctx=512)
    turns = (
        Message(role="user", text="word " * 700),
        Message(role="assistant", text="Yes."),
        Message(role="user", text="Say hello."),
    )
    with pytest.raises(ContextOverflow):
        await drain(engine.run(RunRequest(messages=turns)))


async def test_an_answer_ends_at_the_end_of_the_context(opened):
    engine = await opened(num_ctx=64)
    events = [event async for event in engine.run(asking("Write a very long story, with many chapters."))]
    usage = events[-1].usage
    assert events[-1].reason == "length"
    assert usage.prompt_tokens + usage.completion_tokens <= 65  # the last token is never read again
    assert not [event for event in events if isinstance(event, Caution)]


async def test_a_crash_of_ollamas_runner_is_reported(opened):
    """As on Intel CPUs with AMX, if a compiler broke it: the cure is named. The next prompt starts another runner."""
    engine = await opened(num_ctx=8192)
    with pytest.raises(EngineError) as caught:  # noqa: PT012 (the answer must have begun)
        async for event in engine.run(asking("Write a very long story, with many chapters.")):
            if isinstance(event, Token):
                for process in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):  # it is dead already
                        if "runner" in process.cmdline():
                            process.send_signal(signal.SIGSEGV)
    assert "-mno-amx-int8" in caught.value.hint
    events = [event async for event in engine.run(asking("Say hello.", max_tokens=5))]
    assert any(isinstance(event, Token) for event in events)
