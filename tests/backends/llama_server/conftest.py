"""Fixtures for llama-servers that paragone starts: the wheel's, and the real one that `make llama-server` builds."""

import importlib.util
import os
import socket
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from paragone import Message, OpenRequest, ParagoneError, RunRequest, Token
from paragone_remote.llama_server.backend import LlamaServerBackend

# Before any test moves the home away.
BUILT = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "paragone-llama-server"
    / "llama-server"
)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Give a program that runs the wheel's llama-server, as the option `program` takes it."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    program = tmp_path_factory.mktemp("wheel") / "llama-server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m paragone_remote.llama_server.wheel "$@"\n')
    program.chmod(0o755)
    return str(program)


@pytest.fixture(scope="session")
def built():
    """Give the real llama-server that `make llama-server` builds."""
    if not BUILT.is_file():
        pytest.skip(f"there is no real llama-server at {BUILT}: run `make llama-server`")
    return str(BUILT)


@pytest.fixture(scope="session", params=["wheel", "built"])
def program(request):
    """Give each llama-server in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def small():
    """Give load options for a quick start, which takes half the CPU time, and one thread."""
    return {"n_ctx": 1024, "n_threads": 1, "arguments": ["--no-warmup", "-fit", "off"]}


class Lane:
    """An open engine, and short ways to ask it."""

    def __init__(self, engine):
        self.engine = engine
        self.loaded = engine.loaded

    def run(self, text="Hello?", *, logprobs=None, cold=False, images=(), **sampling):
        message = Message(role="user", text=text, images=tuple(images))
        request = RunRequest(messages=(message,), sampling=sampling, logprobs=logprobs, cold=cold)
        return self.engine.run(request)

    async def ask(self, text="Hello?", *, on_event=lambda event: None, **options):
        """Return the events of a run, and the error that it ended in, if it did."""
        events = []
        try:
            async for event in self.run(text, **options):
                events.append(event)
                on_event(event)
        except ParagoneError as error:
            return events, error
        return events, None

    @property
    def pid(self):
        return self.engine._server_process.process.pid


@pytest_asyncio.fixture
async def open_lane(smollm2, small):
    """Open engines, SmolLM2 unless said otherwise, and close them after the test."""
    lanes = []

    async def open_it(program, *, model=smollm2, on_progress=lambda progress: None, log=None, **options):
        request = OpenRequest(
            model=str(model), options={"program": program, **small, **options}, log=log and str(log)
        )
        lanes.append(Lane(await LlamaServerBackend().open(request, on_progress)))
        return lanes[-1]

    yield open_it
    for lane in lanes:
        await lane.engine.close()


def text_of(events, channel="answer"):
    return "".join(event.text for event in events if isinstance(event, Token) and event.channel == channel)


@pytest.fixture
def text():
    return text_of


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
