"""The Ollama server on this machine is found where OLLAMA_HOST says, and nothing else is asked."""

from loopback_server import LoopbackServer

from paragone_remote.backend import OllamaBackend
from paragone_remote.ollama_api.client import listens, local_url

from .conftest import free_port

DEFAULT = "http://127.0.0.1:11434"


URLS = {
    "": DEFAULT,
    "localhost:8080": "http://127.0.0.1:8080",
    "http://127.0.0.2:8080/": "http://127.0.0.2:8080",
    ":8080": "http://127.0.0.1:8080",
    "0.0.0.0": DEFAULT,
    "[::]:8080": "http://[::1]:8080",
    "https://localhost": "https://127.0.0.1:443",
    # other machines, and what is no address at all
    "gpu-box:11434": DEFAULT,
    "localhost.example.org": DEFAULT,
    "me:secret@localhost:8080": DEFAULT,
    "localhost:many": DEFAULT,
}


def test_only_this_machine_is_meant(monkeypatch):
    for host, url in URLS.items():
        monkeypatch.setenv("OLLAMA_HOST", host)
        assert local_url() == url, host


async def test_without_a_server_there_are_no_models(monkeypatch):
    url = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("OLLAMA_HOST", url)
    assert not await listens(f"http://{url}")
    assert await OllamaBackend().models(()) == ()


class Silent(LoopbackServer):
    async def serve(self, reader, writer):
        await reader.read()


async def test_a_server_that_accepts_and_says_nothing_has_no_models(monkeypatch):
    monkeypatch.setattr("paragone_remote.backend._PATIENCE", 0.2)
    async with Silent() as server:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.port}")
        assert await listens(f"http://127.0.0.1:{server.port}")
        assert await OllamaBackend().models(()) == ()
