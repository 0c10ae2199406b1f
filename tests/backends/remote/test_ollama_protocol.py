"""Ollama's protocol, with a double for servers and models that cannot run here, and the Ollama of this machine."""

import pytest
import pytest_asyncio
from hostile_server import OLLAMA
from loopback_server import LoopbackServer

from paragone import Image, InputError, Message, OpenRequest
from paragone_remote.backend import OllamaBackend
from paragone_remote.ollama_api import listens, local_url

from .conftest import cautions, free_port


@pytest.fixture
def protocol():
    return OLLAMA


@pytest_asyncio.fixture
async def server(serve, protocol):
    return await serve(protocol)


async def test_a_chat_request_has_ollamas_fields(server, open_lane):
    lane = await open_lane(server, num_gpu=3, keep_alive="-1")
    messages = [
        Message(role="system", text="Be brief."),
        Message(role="assistant", text="Yes.", thinking="Hm."),
        Message(role="user", text="Why?", images=(Image(data="AAEC", media_type="image/png", name="cat"),)),
    ]
    sampling = {"max_tokens": 7, "temperature": 0.5, "top_k": 3, "seed": 5, "stop": ["x"], "thinking": False}
    await lane.ask(messages, logprobs=30, **sampling)
    assert server.chats[0].body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": "Yes.", "thinking": "Hm."},
            {"role": "user", "content": "Why?", "images": ["AAEC"]},
        ],
        "options": {
            "num_ctx": 4096,
            "num_gpu": 3,
            "num_predict": 7,
            "temperature": 0.5,
            "top_k": 3,
            "seed": 5,
            "stop": ["x"],
        },
        "think": False,
        "logprobs": True,
        "top_logprobs": 20,
        "truncate": False,
        "shift": False,
        "keep_alive": -1,
        "stream": True,
    }


async def test_the_context_has_a_default_if_none_is_set(server):
    for template, parameters, trained, wanted, code in (
        ("{{ .Messages }}", "", 2048, 2048, []),
        ("{{ .Messages }}", "", 131072, 8192, ["context-reduced"]),
        ("{{ .Messages }}", 'stop "x"\nnum_ctx   6000', 131072, 6000, ["context-reduced"]),
        ("{{ .Prompt }}", "", None, 8192, ["no-chat-template"]),
    ):
        info = {"general.architecture": "llama"} | ({"llama.context_length": trained} if trained else {})
        server.replies["/api/show"] = {"model_info": info, "parameters": parameters, "template": template}
        request = OpenRequest(model="m", options={"url": server.url})
        engine = await OllamaBackend().open(request, lambda progress: None)
        await engine.close()
        assert engine.loaded.context == wanted
        assert [caution.code for caution in engine.loaded.cautions] == code


async def test_the_context_that_the_server_really_uses_is_reported(server, open_lane):
    server.replies["/api/ps"] = {
        "models": [{"model": "m:latest", "size": 2**31, "size_vram": 2**30, "context_length": 2048}]
    }
    lane = await open_lane(server)
    assert lane.engine.loaded.context == 2048
    assert [caution.code for caution in lane.engine.loaded.cautions] == ["context-reduced"]
    assert lane.engine.loaded.facts["in memory"] == "2.1 GB with the KV cache, 50% in VRAM"
    assert lane.engine.loaded.size == 9, "the size of its files, which /api/tags tells"


async def test_a_model_only_for_embeddings_is_refused(server):
    server.replies["/api/show"] = {"model_info": {}, "capabilities": ["embedding"]}
    request = OpenRequest(model="m", options={"url": server.url})
    with pytest.raises(InputError) as caught:
        await OllamaBackend().open(request, lambda progress: None)
    assert caught.value.message == "m does not generate text: its capabilities are embedding."


async def test_missing_log_probabilities_and_a_warm_cache_cause_warnings(server, open_lane):
    events, _ = await (await open_lane(server)).ask(logprobs=0, cold=True)
    told = cautions(events)
    assert list(told) == ["not-cold", "no-logprobs"]
    assert told["no-logprobs"].endswith("Ollama supports them from version 0.12.11 on.")


async def test_a_truncated_prompt_causes_a_warning(server, open_lane):
    """Servers before 0.12.4 do not know `truncate`, and read what is left."""
    server.replies["/api/version"] = {"version": "0.11.4"}
    lane = await open_lane(server)
    assert [caution.code for caution in lane.engine.loaded.cautions] == ["may-truncate"]
    server.on_chat = lambda exchange: exchange.answer("Hi.", read=12)
    events, _ = await lane.ask("A word of it. " * 100)
    assert "at least 400 tokens were sent, and the server read 12" in cautions(events)["truncated"]
    server.on_chat = lambda exchange: exchange.answer("Hi.", read=4096)
    events, _ = await lane.ask("A word of it. " * 1000)
    assert "fill the whole context of 4,096 tokens" in cautions(events)["truncated"]


async def test_a_model_loaded_during_the_run_causes_a_warning(server, open_lane):
    done = {"message": {"role": "assistant", "content": "Hi."}, "done": True, "load_duration": 7 * 10**9}
    server.on_chat = lambda exchange: exchange.stream(OLLAMA.line(done))
    events, _ = await (await open_lane(server)).ask()
    assert cautions(events)["reloaded"].startswith("The server loaded the model first, which took 7.0 s")


async def test_a_url_of_another_program_is_reported(server):
    server.replies["/api/version"] = {"name": "a printer"}
    report = await OllamaBackend().endpoint({"url": server.url})
    assert (
        report.probe.reason == f"The server at {server.url} sent data that is not valid in Ollama's protocol."
    )


CAPABLE = [(["completion", "vision"], True), (["completion"], False), (None, None)]


@pytest.mark.parametrize(("capabilities", "vision"), CAPABLE, ids=["sees", "is blind", "an old server"])
async def test_vision_is_read_from_the_models_capabilities(server, open_lane, capabilities, vision):
    server.replies["/api/show"] = {
        "model_info": {},
        **({"capabilities": capabilities} if capabilities else {}),
    }
    lane = await open_lane(server)
    assert lane.engine.loaded.vision is vision
    image = Image(data="AAEC", media_type="image/png")
    events, _ = await lane.ask([Message(role="user", text="Why?", images=(image,))])
    where = f"The server at {server.url}"
    told = {"may-not-see": f"{where} does not report whether m sees images."}
    assert cautions(events) == (told if vision is None else {})
    server.on_chat = lambda exchange: exchange.refuse(500, {"error": "the model has stopped"})
    _, error = await lane.ask([Message(role="user", text="Why?", images=(image,))])
    assert error.hint.startswith("The image may be the reason")


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


def test_the_default_address_is_always_on_this_machine(monkeypatch):
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


async def test_a_silent_server_has_no_models(monkeypatch):
    monkeypatch.setattr("paragone_remote.backend._PATIENCE", 0.2)
    async with Silent() as server:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.port}")
        assert await listens(f"http://127.0.0.1:{server.port}")
        assert await OllamaBackend().models(()) == ()
