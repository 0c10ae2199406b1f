"""Images on a real Ollama with a vision model with random weights: formats, token counts, errors."""

import hashlib

import pytest
import pytest_asyncio
from tiny_vision import IMAGE_TOKENS, projector

from paragone import Caution, Image, Message, OpenRequest, RunRequest
from paragone_remote.backend import OllamaBackend

from .conftest import bare_client

pytestmark = pytest.mark.model

OPTIONS = {"num_ctx": 512, "num_thread": 1}

NAME = "tiny-vision:latest"

# One pixel each, as PNG in base64.
RED = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"


# one grey pixel
@pytest.fixture(scope="module")
def server(ollama_server):
    with bare_client(ollama_server) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def vision_model(server, smollm2):
    """Have the server make a vision model of SmolLM2: https://docs.ollama.com/api/create.

    Afterwards it is gone and nothing is loaded, as tests of the same server expect.
    """
    details = server.post("/api/show", json={"model": "smollm2"}).json()
    second = projector(details["model_info"]["llama.embedding_length"])
    files = {}
    for name, content in (("text.gguf", smollm2.read_bytes()), ("mmproj.gguf", second)):
        files[name] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        server.post(f"/api/blobs/{files[name]}", content=content).raise_for_status()
    made = server.post("/api/create", json={"model": NAME, "files": files, "stream": False})
    assert made.json() == {"status": "success"}
    yield
    for name in (NAME, "smollm2"):
        server.post("/api/generate", json={"model": name, "keep_alive": 0}).raise_for_status()
    server.request("DELETE", "/api/delete", json={"model": NAME}).raise_for_status()


def ask(server, *images, model=NAME):
    message = {"role": "user", "content": "What is this?", "images": images}
    options = {**OPTIONS, "num_predict": 4, "temperature": 0}
    body = {"model": model, "messages": [message], "options": options, "stream": False, "logprobs": True}
    return server.post("/api/chat", json=body)


@pytest_asyncio.fixture
async def engine(ollama_server):
    """Give the vision model, open in paragone."""
    request = OpenRequest(model=NAME, options={"url": ollama_server, "keep_alive": "5m", **OPTIONS})
    engine = await OllamaBackend().open(request, lambda progress: None)
    yield engine
    await engine.close()


async def answer(engine, *pictures):
    images = tuple(Image(data=data, media_type="image/png") for data in pictures)
    asked = Message(role="user", text="What is this?", images=images)
    sampling = {"max_tokens": 4, "temperature": 0}
    return [event async for event in engine.run(RunRequest(messages=(asked,), sampling=sampling, logprobs=0))]


async def test_an_image_from_paragone_gives_the_same_result_as_a_direct_request(server, engine):
    assert engine.loaded.vision is True
    _, blind, *_, without = await answer(engine)
    _, first, *rest, last = await answer(engine, RED)
    assert last.usage.prompt_tokens == without.usage.prompt_tokens + IMAGE_TOKENS
    assert last.usage.completion_tokens == 4
    assert not [event for event in (first, *rest) if isinstance(event, Caution)]
    direct = ask(server, RED).json()["logprobs"][0]
    assert (first.text, first.logprob) == (direct["token"], pytest.approx(direct["logprob"], abs=0.01))
    assert first.logprob != pytest.approx(blind.logprob, abs=0.01)
