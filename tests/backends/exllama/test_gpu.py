"""Both engines on a real GPU: `pytest -m gpu`.

NEVER RUN SO FAR: no machine with a GPU was available when this was written. The expected values are
assumptions, not observations.

Each library is taken from the environment that `paragone env create` made for it, or from the interpreter
in PARAGONE_EXLLAMAV2_PYTHON or PARAGONE_EXLLAMAV3_PYTHON.
"""

import asyncio
import contextlib
import json
import os
import signal
import statistics
import time
from pathlib import Path

import pytest
from exllama_model_folder import REAL

from paragone import EngineCrashed, Finish, Message, OpenRequest, RunRequest, Token
from paragone.testing import BackendConformance
from paragone_exllama.backend import ExLlamaV2Backend, ExLlamaV3Backend
from paragone_exllama.probe import query_driver
from paragone_workbench.paths import data_folder

pytestmark = pytest.mark.gpu

try:
    query_driver()
except OSError as error:
    pytest.skip(f"these tests need an NVIDIA GPU, and {error}", allow_module_level=True)

BACKENDS = {"exllamav2": ExLlamaV2Backend, "exllamav3": ExLlamaV3Backend}
HERE = Path(__file__).parent

PYTHONS = {
    name: os.environ.get(
        f"PARAGONE_{name.upper()}_PYTHON", str(data_folder() / "environments" / name / "bin" / "python")
    )
    for name in BACKENDS
}
"""The interpreters, searched before the fixture `home` changes the home folder."""

MARGIN = 64 << 20
"""Bytes by which the VRAM in use varies by itself."""


def usable(library):
    """Return the interpreter of a library, or skip the test with a reason."""
    python = PYTHONS[library]
    if not Path(python).exists():
        pytest.skip(f"there is no environment of {library} here: paragone env create {library}")
    probe = asyncio.run(BACKENDS[library]().probe(python))
    if not probe.usable:
        pytest.skip(f"{probe.reason} {probe.remedy}")
    return python


def used():
    """Return the bytes of VRAM in use on all GPUs."""
    return sum(gpu.total - gpu.free for gpu in query_driver().gpus)


async def wait_until_free(before):
    """Wait until the VRAM is free again: after the end of a process, the driver takes some time."""
    async with asyncio.timeout(15):
        while used() > before + MARGIN:
            await asyncio.sleep(0.05)


@pytest.fixture(params=list(BACKENDS))
def library(request):
    usable(request.param)
    return request.param


@contextlib.asynccontextmanager
async def opened(library, folder, **options):
    request = OpenRequest(model=str(folder), options=options, python=PYTHONS[library])
    engine = await BACKENDS[library]().open(request, lambda progress: None)
    try:
        yield engine
    finally:
        await engine.close()


def asked(text, **sampling):
    return RunRequest(messages=(Message(role="user", text=text),), sampling=sampling)


class OnGpu(BackendConformance):
    patience = 900.0  # the CUDA extension may have to be compiled first

    @pytest.fixture(autouse=True)
    def gpu(self, backend):
        usable(backend.name)

    @pytest.fixture
    def opening(self, backend, write_model, tmp_path_factory):
        python = usable(backend.name)
        model = write_model(tmp_path_factory.mktemp("model") / "tiny", real=True)
        return OpenRequest(model=str(model), options={"max_seq_len": 2048}, python=python)

    @pytest.fixture
    def sampling(self):
        return {"max_tokens": 24, "seed": 1}

    @pytest.fixture
    def long_sampling(self):
        return {"max_tokens": 1000, "seed": 1}


class TestExLlamaV2OnGpu(OnGpu):
    @pytest.fixture
    def backend(self):
        return ExLlamaV2Backend()


class TestExLlamaV3OnGpu(OnGpu):
    @pytest.fixture
    def backend(self):
        return ExLlamaV3Backend()


async def test_vram_is_freed_when_the_engine_is_closed(library, write_model, tmp_path):
    folder = write_model(tmp_path / "model", real=True, shape=REAL)
    before = used()
    async with opened(library, folder, max_seq_len=2048) as engine:
        during = used()
        assert during - before > engine.loaded.size / 2
    await wait_until_free(before)
    print(f"{library}: VRAM before {before:,}, during {during:,}, after {used():,} bytes")


async def test_vram_is_freed_when_the_worker_is_killed(library, write_model, tmp_path):
    before = used()
    async with opened(library, write_model(tmp_path / "model", real=True), max_seq_len=2048) as engine:

        async def kill_in_the_middle():
            async for event in engine.run(asked("Say it.", max_tokens=1500)):
                if isinstance(event, Token):
                    os.kill(engine.pid, signal.SIGKILL)

        with pytest.raises(EngineCrashed) as caught:
            await kill_in_the_middle()
        assert caught.value.status == -signal.SIGKILL
    await wait_until_free(before)


async def test_a_run_is_stopped_during_prefill_and_decode(library, write_model, tmp_path):
    folder = write_model(tmp_path / "model", real=True, shape=REAL, max_position_embeddings=32768)
    async with opened(library, folder, max_seq_len=32768) as engine:
        for text, wanted in (("north " * 5000, 1), ("Say it.", 20)):
            seen = 0
            stopped = 0.0
            async for event in engine.run(asked(text, max_tokens=4000)):
                seen += 1
                if seen == wanted:
                    stopped = time.monotonic()
                    await engine.stop()
                if isinstance(event, Finish):
                    assert event.reason == "cancelled"
                    print(f"{library}: stopped {1000 * (event.time - stopped):.0f} ms after it was asked to")


async def test_a_lane_is_as_fast_as_the_bare_generator(library, write_model, tmp_path):
    """Compare decode rates of three alternating runs each, on the same machine."""
    folder = write_model(tmp_path / "model", real=True, shape=REAL)
    tokens, context = 512, 2048
    process = await asyncio.create_subprocess_exec(
        PYTHONS[library],
        str(HERE / "gpu_bare.py"),
        library,
        str(folder),
        str(tokens),
        str(context),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    bare = json.loads(said.decode().rpartition("RESULT ")[2])
    lane = []
    async with opened(library, folder, max_seq_len=context, chat_template="") as engine:
        for _ in range(4):
            finish = [
                event async for event in engine.run(asked("Say it.", max_tokens=tokens, temperature=0))
            ][-1]
            if finish.reason != "length":
                pytest.skip("the random model ends its answer too soon to be measured")
            lane.append((finish.usage.completion_tokens - 1) / finish.timings.decode_s)
    ratio = statistics.median(lane[1:]) / statistics.median(bare)
    print(f"{library}: a lane {lane[1:]}, bare {bare} tokens/s: {ratio:.3f} times")
    assert ratio >= 0.98
