"""The life of a server that paragone starts: it is private, it ends with its engine, and its end is told."""

import asyncio
import contextlib
import os
import re
import signal
import stat
import subprocess
import sys

import httpx
import psutil
import pytest
from tests.processes import gone, words_of

from paragone import EngineCrashed, OpenRequest, Token, TokenizeRequest
from paragone.threads import OPENMP
from paragone_remote.backend import LlamaServerBackend
from paragone_remote.llama_server import process as server_process

STORY = "Write a very long story, with many chapters."


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    """Give the folder for this test's sockets."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder / f"paragone-{os.geteuid()}"


async def test_the_server_loads_answers_and_ends(
    program, open_lane, runtime, smollm2, text, tmp_path, monkeypatch
):
    fractions: list[float | None] = []
    is_ready = server_process.LlamaServer._is_ready

    async def is_seen_ready(
        server, http
    ):  # a small model may be loaded before the first look at its progress
        return len(fractions) > 1 and await is_ready(server, http)

    monkeypatch.setattr(server_process.LlamaServer, "_is_ready", is_seen_ready)
    lane = await open_lane(
        program,
        log=tmp_path / "log",
        on_progress=lambda it: fractions.append(it.fraction),
        arguments=["--warmup"],  # which touches all weights
    )
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert 0 < fractions[1] < 1
    assert lane.loaded.context == 1024
    assert (lane.loaded.quantization, lane.loaded.architecture) == ("Q4_1", "llama")
    assert [file.path for file in lane.loaded.weights] == [str(smollm2)]
    events, error = await lane.ask("Say hello.", max_tokens=8)
    assert error is None
    assert text(events)
    assert "llama" in (tmp_path / "log").read_text()
    await lane.engine.close()
    assert not psutil.pid_exists(lane.pid)
    assert list(runtime.iterdir()) == []


async def test_active_settings_are_reported(program, open_lane):
    lane = await open_lane(program, n_batch=64, flash_attn="off", type_k="q8_0")
    wanted = {
        "threads": "1",
        "batch size": "64",
        "flash attention": "off",
        "K cache": "q8_0",
        "V cache": "f16",
    }
    wanted |= {
        "parameters": "9440064",
        "layers on a GPU": "none",
        "LoRA adapter": "none",
        "other samplers": "none",
    }
    assert {name: lane.loaded.facts.get(name) for name in wanted} == wanted
    assert "<|im_start|>" in lane.loaded.facts["chat template"]


async def test_other_users_cannot_use_the_server_and_its_key_is_not_logged(
    program, open_lane, runtime, tmp_path
):
    lane = await open_lane(program, log=tmp_path / "log")
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    (socket,) = runtime.iterdir()
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
    ) as stranger:
        refused = await stranger.post("http://llama-server/v1/completions", json={"prompt": "a"})
    assert refused.status_code == 401
    key = lane.engine._endpoint.headers["authorization"].removeprefix("Bearer ")
    server = psutil.Process(lane.pid)
    assert key in server.environ().values()
    assert server.environ()["GOMP_SPINCOUNT"] == OPENMP["GOMP_SPINCOUNT"]
    assert key not in " ".join(server.cmdline())
    assert key not in repr(lane.engine._endpoint)
    assert server.net_connections("inet") == []
    await lane.ask("Say hello.", max_tokens=4)
    assert key not in (tmp_path / "log").read_text()
    assert "hello" not in (tmp_path / "log").read_text(), "prompts do not belong in a log"
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


async def test_the_server_can_listen_on_a_port(wheel, open_lane, free_port, runtime):
    lane = await open_lane(wheel, port=free_port)
    assert lane.engine._endpoint.origin == f"http://127.0.0.1:{free_port}"
    events, error = await lane.ask("Say hello.", max_tokens=4)
    assert error is None
    assert any(isinstance(event, Token) for event in events)
    async with httpx.AsyncClient(verify=False) as stranger:
        refused = await stranger.post(f"http://127.0.0.1:{free_port}/v1/completions", json={"prompt": "a"})
    assert refused.status_code == 401
    assert not runtime.exists()


async def test_a_server_killed_during_an_answer_is_reported(wheel, open_lane, text):
    lane = await open_lane(wheel)
    ended = asyncio.create_task(lane.engine.ended())
    await asyncio.sleep(0)  # it waits
    assert not ended.done()

    def kill(event):
        if isinstance(event, Token):
            with contextlib.suppress(ProcessLookupError):  # more of the answer may be there already
                os.kill(lane.pid, signal.SIGKILL)

    events, error = await lane.ask(STORY, max_tokens=800, on_event=kill)
    assert text(events)
    assert isinstance(error, EngineCrashed)
    assert error.status == -signal.SIGKILL
    assert error.message.startswith("The engine's process was ended by SIGKILL")
    assert len(error.log_tail) <= 1, "what a server prints when all is well does not tell why it died"
    with pytest.raises(EngineCrashed):
        await lane.engine.tokenize(TokenizeRequest(text="Hello?"))
    assert (await ended).status == -signal.SIGKILL
    events, error = await lane.ask()
    assert events == [], "a server that is gone needs no second try"
    assert isinstance(error, EngineCrashed)


async def test_a_server_stopped_with_sigstop_can_be_closed(wheel, open_lane, monkeypatch):
    """A process that hangs obeys no SIGTERM."""
    monkeypatch.setattr("paragone.worker.process.GRACE", 0.01)
    lane = await open_lane(wheel)
    os.kill(lane.pid, signal.SIGSTOP)
    await lane.engine.close()
    assert not psutil.pid_exists(lane.pid)


async def test_a_server_can_be_closed_while_it_loads(wheel, smollm2, small, runtime):
    opening = asyncio.create_task(
        LlamaServerBackend().open(
            OpenRequest(model=str(smollm2), options={"program": wheel, **small}), lambda progress: None
        )
    )
    async with asyncio.timeout(60):
        while not (runtime.exists() and list(runtime.iterdir())):
            await asyncio.sleep(0.005)
            assert not opening.done()
    (server,) = [it for it in psutil.Process().children() if any(".sock" in word for word in words_of(it))]
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not server.is_running()
    assert list(runtime.iterdir()) == []


SCRIPT = """
import asyncio, sys
from paragone import OpenRequest
from paragone_remote.backend import LlamaServerBackend

async def main():
    arguments = ["--no-warmup", "-fit", "off"]
    options = {"program": sys.argv[2], "n_ctx": 512, "n_threads": 1, "arguments": arguments}
    engine = await LlamaServerBackend().open(OpenRequest(model=sys.argv[1], options=options), lambda it: None)
    print(engine.process.process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_the_server_ends_when_the_application_is_killed(wheel, smollm2, runtime, open_lane):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(smollm2), wheel], stdout=subprocess.PIPE, text=True
    ) as application:
        pid = int(application.stdout.readline())
        assert psutil.pid_exists(pid)
        application.kill()
    await gone(pid)
    (left,) = runtime.iterdir()
    await open_lane(wheel)  # the next one removes what is left
    assert left not in runtime.iterdir()


async def test_a_socket_folder_of_another_user_is_not_used(wheel, runtime, open_lane, monkeypatch):
    """Someone else could have made it, with access for others."""
    runtime.mkdir(mode=0o755)
    monkeypatch.setattr("paragone_remote.llama_server.process.gettempdir", lambda: str(runtime.parent))
    lane = await open_lane(wheel)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", lane.engine._endpoint.origin)
