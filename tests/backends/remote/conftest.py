"""Fixtures for engines at servers: real servers on loopback, a hostile double, helpers for requests."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hostile_server import OLLAMA, OPENAI, HostileServer

from paragone import Caution, Message, OpenRequest, ParagoneError, RunRequest, RunSettings, Token

# Before any test moves the home away: where `make ollama` and `make llama-server` put the servers.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
OLLAMA_PROGRAM = _CACHE / "paragone-ollama" / "ollama"
LLAMA_SERVER_PROGRAM = _CACHE / "paragone-llama-server" / "llama-server"

PROPS = {
    "total_slots": 1,
    "build_info": "b1-0c1e570",
    "chat_template": "{{ messages }}\n",
    "default_generation_settings": {"n_ctx": 4096},
}
"""What a double of llama-server says of itself at `/props`."""

SERVERS: dict[str, dict[str, Any]] = {
    "unknown": {},
    "llama-server": {"/props": PROPS},
    "llama-cpp-python": {"/openapi.json": {"info": {"title": "🦙 llama.cpp Python API", "version": "0.3"}}},
    "vLLM": {"/version": {"version": "0.11.0"}, "/v1/models": {"data": [{"id": "m", "max_model_len": 2048}]}},
    "SGLang": {"/get_server_info": {"model_path": "m", "version": "0.5.3"}},
    "TabbyAPI": {"/v1/model": {"id": "m", "parameters": {"max_seq_len": 4096}}},
    "LM Studio": {"/api/v0/models": {"data": []}},
}
"""What a double of each kind of server says of itself, by path."""

_START_PATIENCE = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(command, ready, *, status=200, env, log):
    """Run a server until the block ends; it begins once `ready` answers so, and is given the process."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + _START_PATIENCE
        while status_of(ready) != status:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def status_of(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code
    except (urllib.error.URLError, ConnectionError):
        return None


def bare_client(url):
    """Return a client that knows nothing of paragone, and reads no certificates: the server has no TLS."""
    return httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False)


@pytest.fixture(scope="session")
def vocab(smollm2):
    """Give the vocabulary of the model's file."""
    return vocab_of(smollm2)


def vocab_of(path):
    from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions
    from paragone_llama_cpp.model import open_model

    request = OpenRequest(model=str(path), options={})
    options = LlamaCppLoadOptions(n_ctx=512)
    return open_model(request, options, lambda fraction: None, False, weights=False).vocab


@pytest.fixture(scope="session")
def llama_cpp_server(whole_smollm2, tmp_path_factory):
    """Give the URL and the log of a real OpenAI-compatible server: llama-cpp-python's own, with SmolLM2.

    By hand: `python -m llama_cpp.server --model SmolLM2-135M-Instruct.Q4_1.gguf --model_alias smollm2
    --n_ctx 1024 --n_threads 1 --n_batch 128 --logits_all true --interrupt_requests false`. It keeps
    all logits, since it gives log-probabilities only then, and lets an answer end before the next.
    """
    pytest.importorskip("llama_cpp.server.app", reason="llama-cpp-python[server] is not installed")
    port = free_port()
    folder = tmp_path_factory.mktemp("llama_cpp_server")
    command = [
        sys.executable,
        "-m",
        "llama_cpp.server",
        "--model",
        str(whole_smollm2),
        "--model_alias",
        "smollm2",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "1024", "--n_batch", "128"]
    command += ["--n_threads", "1", "--n_threads_batch", "1", "--logits_all", "true"]
    command += ["--interrupt_requests", "false"]
    url = f"http://127.0.0.1:{port}"
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}  # tests read its log while it runs
    with serving(command, f"{url}/v1/models", env=env, log=folder / "log"):
        yield url, folder / "log"


@contextlib.contextmanager
def running_ollama(folder, **settings):
    """Run a real Ollama that keeps its models in `folder`, and give its URL, its process and its environment."""
    if not OLLAMA_PROGRAM.is_file():
        why = "run `make ollama`" if shutil.which("go") else "it is built with Go 1.24 or later"
        pytest.skip(f"there is no real Ollama at {OLLAMA_PROGRAM}: {why}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # A client that leaves while Ollama 0.13.5 passes a token on can block one of the server's requests for ever, with its
    # place among the parallel ones (`ch <- res` in `ChatHandler`). With one place, no later prompt would be answered.
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(folder / "models"),
        "OLLAMA_NUM_PARALLEL": "4",
        **settings,
    }
    command = [str(OLLAMA_PROGRAM), "serve"]
    with serving(command, f"{url}/api/version", env=env, log=folder / "log") as process:
        yield url, process, env


@pytest.fixture(scope="session")
def ollama_folder(tmp_path_factory):
    """Give the folder of the real Ollama `ollama_server`."""
    return tmp_path_factory.mktemp("ollama")


@pytest.fixture(scope="session")
def ollama_server(smollm2, ollama_folder):
    """Give the URL of a real Ollama with SmolLM2, imported by `ollama create`; `make ollama` builds it.

    Its model is without most of its layers: it reads the whole one for half a second whenever it loads it.
    """
    with running_ollama(ollama_folder) as (url, _, env):
        create(env, "smollm2", smollm2)
        yield url


def create(env, name, path):
    """Have the Ollama of this environment import a model."""
    with tempfile.NamedTemporaryFile("w", suffix="Modelfile") as modelfile:
        modelfile.write(f"FROM {path}\n")
        modelfile.flush()
        command = [str(OLLAMA_PROGRAM), "create", name, "-f", modelfile.name]
        subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def made(url, model):
    """Give the server a model until the block ends, and its name to the block."""
    with bare_client(url) as bare:
        assert bare.post("/api/create", json=model).json() == {"status": "success"}
        yield model["model"]
        bare.post("/api/generate", json={"model": model["model"], "keep_alive": 0})
        bare.request("DELETE", "/api/delete", json={"model": model["model"]})


@pytest.fixture(scope="session")
def whole_ollama(ollama_server, whole_smollm2, tmp_path_factory):
    """Give the URL of a real Ollama with the model `whole`, which has all its layers."""
    with running_ollama(tmp_path_factory.mktemp("whole_ollama")) as (url, _, env):
        create(env, "whole", whole_smollm2)
        yield url


def llama_server_program():
    """Return the command of a real llama-server: the one that was built, else the wheel's."""
    if LLAMA_SERVER_PROGRAM.is_file():
        return [str(LLAMA_SERVER_PROGRAM)]
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("there is no real llama-server: install xllamacpp, or run `make llama-server`")
    return [sys.executable, "-P", "-m", "paragone_remote.llama_server.wheel"]


@pytest.fixture(scope="session")
def run_llama_server(smollm2, tmp_path_factory):
    """Run real llama-servers on one thread: `with run_llama_server("-c", "1024") as url`.

    The one that `make llama-server` builds, else the wheel's. `port` and `status` are for one that takes another's
    place and for one that is not ready yet. They compute nothing beforehand, which takes most of the time of a start.
    """
    program = llama_server_program()

    @contextlib.contextmanager
    def run(*options, model=smollm2, port=None, status=200):
        if model is None and len(program) > 1:
            pytest.skip("the wheel's llama-server has no router: run `make llama-server`")
        port = free_port() if port is None else port
        folder = tmp_path_factory.mktemp("llama_server")
        command = [*program, "--host", "127.0.0.1", "--port", str(port), "--offline", "-t", "1", "-b", "128"]
        command += ["--no-warmup", "-fit", "off", *options]
        if model is not None:
            command += ["--model", str(model), "--alias", "smollm2"]
        url = f"http://127.0.0.1:{port}"
        env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        with serving(command, f"{url}/health", status=status, env=env, log=folder / "log"):
            yield url

    return run


@pytest.fixture(scope="session")
def llama_server(run_llama_server):
    """Give the URL of a real llama-server with SmolLM2, one slot of 1,024 tokens, and its metrics on."""
    with run_llama_server("-c", "1024", "-np", "1", "--metrics") as url:
        yield url


@pytest.fixture(scope="session")
def whole_llama_server(run_llama_server, whole_smollm2):
    """Give the URL of a real llama-server with the model of the other servers, whose answers make sense."""
    with run_llama_server("-c", "1024", "-np", "1", "--metrics", model=whole_smollm2) as url:
        yield url


@pytest.fixture(params=[OLLAMA, OPENAI], ids=["ollama", "openai"])
def protocol(request):
    return request.param


@pytest_asyncio.fixture
async def hostile(protocol):
    """Give a hostile server for the test's protocol."""
    server = HostileServer(protocol)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def serve():
    """Start doubles that answer every chat, with replies of their own at other paths."""
    servers = []

    async def start(protocol, replies=None):
        server = HostileServer(protocol)
        server.on_chat = lambda exchange: exchange.answer("Hel", "lo.")
        server.replies.update(replies or {})
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """Shorten the pauses between requests that wait for a change at a server."""
    monkeypatch.setattr("paragone_remote.faults._SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr("paragone_remote.engine._POLL_S", 0.01)
    monkeypatch.setattr("paragone_remote.openai_opening._POLL_S", 0.01)
    monkeypatch.setattr("paragone_remote.openai_opening._PAUSE", 0.01)


@pytest.fixture
def pauses(monkeypatch):
    """Give the list of the pauses before repeated requests, which take no time."""
    taken = []

    async def sleep(seconds):
        taken.append(seconds)

    monkeypatch.setattr("paragone_remote.engine.RemoteEngine._sleep", staticmethod(sleep))
    monkeypatch.setattr("paragone_remote.engine.RemoteEngine._now", staticmethod(lambda: sum(taken)))
    return taken


def backend_of(protocol):
    from paragone_remote.backend import OllamaBackend, OpenAIBackend

    return {"ollama": OllamaBackend, "openai": OpenAIBackend}[protocol.name]()


@pytest.fixture
def backend(protocol):
    return backend_of(protocol)


class Lane:
    """An open engine, and short ways to ask it."""

    def __init__(self, engine):
        self.engine = engine

    def run(self, text="Hello?", *, logprobs=None, cold=False, bare=False, images=(), **sampling):
        messages = (Message(role="user", text=text, images=images),) if isinstance(text, str) else tuple(text)
        return self.engine.run(
            RunRequest(messages=messages, sampling=sampling, logprobs=logprobs, cold=cold, bare=bare)
        )

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


def text_of(events, channel="answer"):
    return "".join(event.text for event in events if isinstance(event, Token) and event.channel == channel)


def cautions(events):
    """Return the sentences of the cautions by their codes."""
    return {event.code: event.sentence for event in events if isinstance(event, Caution)}


def codes(events):
    return [event.code for event in events if isinstance(event, Caution)]


def settings_of(events):
    (settings,) = [event for event in events if isinstance(event, RunSettings)]
    return settings


@pytest_asyncio.fixture
async def open_lane():
    """Open engines at servers, and close them after the test."""
    engines = []

    async def open_it(server, **options):
        request = OpenRequest(model="m", options={"url": server.url, **server.protocol.options, **options})
        engine = await backend_of(server.protocol).open(request, lambda progress: None)
        engines.append(engine)
        return Lane(engine)

    yield open_it
    for engine in engines:
        await engine.close()


@pytest.fixture
def answered(open_lane):
    """Give what asks a new engine at a double, which replies with `chat`, and returns the events of a run without error."""

    async def ask(server, chat, **options):
        server.on_chat = chat
        events, error = await (await open_lane(server)).ask(**options)
        assert error is None
        return events

    return ask


@pytest_asyncio.fixture
async def open_smollm2():
    """Open SmolLM2 at real OpenAI-compatible servers, by URL, and close it after the test."""
    engines = []

    async def open_it(url, *, model="smollm2", **options):
        request = OpenRequest(model=model, options={"url": url, **options})
        engines.append(await backend_of(OPENAI).open(request, lambda progress: None))
        return Lane(engines[-1])

    yield open_it
    for engine in engines:
        await engine.close()


@pytest.fixture
def text():
    return text_of
