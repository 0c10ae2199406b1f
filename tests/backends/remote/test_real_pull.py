"""Downloads by a real Ollama, from a double of its registry with a model of another real Ollama."""

import pytest
import trustme
from model_registry import ModelRegistry

from paragone import EngineError, InputError, Message, OpenRequest, RunRequest
from paragone_remote.backend import OllamaBackend

from .conftest import running_ollama

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def registry(ollama_server, ollama_folder, authority):
    """Give a registry that has the models of a real Ollama."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    with ModelRegistry(ollama_folder / "models", certificate) as registry:
        yield registry


@pytest.fixture
def puller(registry, authority, tmp_path):
    """Give the URL of a real Ollama without models, which trusts the registry."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    folder = tmp_path / "ollama"
    folder.mkdir()
    with running_ollama(folder, SSL_CERT_FILE=str(tmp_path / "ca.pem")) as (url, _, _):
        yield url


async def open_at(url, model):
    request = OpenRequest(model=model, options={"url": url, "num_ctx": 512, "num_thread": 1})
    return await OllamaBackend().open(request, lambda progress: None)


async def answer(url, model, text):
    engine = await open_at(url, model)
    request = RunRequest(
        messages=(Message(role="user", text="Name three colours."),),
        sampling={"max_tokens": 8, "temperature": 0, "seed": 1},
    )
    try:
        return text([event async for event in engine.run(request)])
    finally:
        await engine.close()


async def pulled(url, model):
    return [progress async for progress in OllamaBackend().pull(model, {"url": url})]


async def test_the_command_in_the_hint_downloads_the_model(ollama_server, registry, puller, text):
    name = registry.name("smollm2")
    with pytest.raises(InputError) as caught:
        await open_at(puller, name)
    told = f"The server has no models yet. To download it: paragone engines pull ollama:{name}@{puller}"
    assert caught.value.hint == told
    progress = await pulled(puller, name)
    statuses = [one.status for one in progress]
    assert statuses[0] == "pulling manifest"
    assert "verifying sha256 digest" in statuses
    assert progress[-1].done == progress[-1].total > 7_000_000
    assert len(registry.downloads) == 4  # the model, its template, its parameters, what it is made of
    assert await answer(puller, name, text) == await answer(ollama_server, "smollm2", text) != ""

    none = registry.name("none")
    with pytest.raises(InputError, match=f"{puller} cannot find the model '{none}' to download"):
        await pulled(puller, none)
    # the other Ollama does not trust the registry: what the server cannot do is told in its words
    with pytest.raises(EngineError, match="certificate signed by unknown authority") as failed:
        await pulled(ollama_server, none)
    assert failed.value.hint == "The server itself downloads the model: can it reach the registry?"
