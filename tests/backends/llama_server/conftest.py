"""Fixtures for llama-servers that paragone starts: the wheel's, and the real one that `make llama-server` builds."""

import importlib.util
import sys

import pytest
import pytest_asyncio
from tests.backends.remote import conftest as remote

from paragone import OpenRequest
from paragone_remote.backend import LlamaServerBackend


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
    if not remote.LLAMA_SERVER_PROGRAM.is_file():
        pytest.skip("there is no real llama-server: run `make llama-server`")
    return str(remote.LLAMA_SERVER_PROGRAM)


@pytest.fixture(scope="session", params=["wheel", "built"])
def program(request):
    """Give each llama-server in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def small():
    """Give load options for a quick start, which takes half the CPU time, and one thread."""
    return {"n_ctx": 1024, "n_threads": 1, "arguments": ["--no-warmup", "-fit", "off"]}


class Lane(remote.Lane):
    """An open engine, its server, and short ways to ask it."""

    @property
    def loaded(self):
        return self.engine.loaded

    @property
    def pid(self):
        return self.engine.process.process.pid


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


@pytest.fixture
def text():
    return remote.text_of


@pytest.fixture
def free_port():
    return remote.free_port()
