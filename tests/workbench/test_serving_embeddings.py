"""`/v1/embeddings` of the OpenAI-compatible server, asked in this process over test doubles of engines."""

import asyncio
import base64
from array import array

import httpx
import pytest
from polite_backend import PoliteBackend, PoliteEngine
from rogue_backend.plugin import RogueBackend

from paragone import Capabilities, EngineError, LoadedModel
from paragone_workbench.config.settings import ServeSettings
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.serving.application import application
from paragone_workbench.serving.served_engine import ServedEngines

from .conftest import Backends
from .serving_client import Leaving, client_of

TEXTS = ["red green blue ", "white black "]


class Textual(PoliteBackend):
    """A test double that embeds texts alone, and stops only when it is told to."""

    name = "textual"
    capabilities = Capabilities(embeddings=True)

    class engine(PoliteEngine):
        asked: list[int] = []  # noqa: RUF012 (the numbers of texts in the requests to all engines)

        async def embed(self, request):
            self.asked.append(len(request.texts))
            if "forever" in request.texts:
                self.stopping = False
                while not self.stopping:
                    await asyncio.sleep(0.001)
                raise EngineError("The computation was stopped.")
            return await super().embed(request)


@pytest.fixture
async def engines(check_nothing_left, rogue):
    named = [EngineDefinition(name=name, backend=name, model="words") for name in ("polite", "textual")]
    backends = Backends(PoliteBackend(), Textual(), RogueBackend())
    made = ServedEngines(EnginePool(backends), (*named, rogue()))
    yield made
    await made.close()


@pytest.fixture
async def client(engines):
    async with client_of(engines) as client:
        yield client


async def embed(client, given, model="polite", **fields) -> httpx.Response:
    return await client.post("/v1/embeddings", json={"model": model, "input": given, **fields})


def vectors(response: httpx.Response) -> list[list[float]]:
    data = response.json()["data"]
    for index, entry in enumerate(data):
        assert (entry["object"], entry["index"]) == ("embedding", index)
    return [entry["embedding"] for entry in data]


async def test_texts_and_tokens_are_embedded(client):
    engine = PoliteEngine(PoliteBackend(), LoadedModel(name="Words", context=1024))
    ids = [engine.ids(text.split()) for text in TEXTS]
    expected = [list(engine.embedding(tokens)) for tokens in ids]
    both = await embed(client, TEXTS)
    assert both.json()["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert (both.json()["object"], both.json()["model"]) == ("list", "polite")
    assert vectors(both) == vectors(await embed(client, ids, dimensions=None)) == expected
    assert vectors(await embed(client, TEXTS[1])) == vectors(await embed(client, ids[1])) == expected[1:]
    mixed = [TEXTS[0], ids[1], TEXTS[1], ids[0]]
    assert vectors(await embed(client, mixed, user="me")) == [*expected, *reversed(expected)]
    figures = (await client.get("/metrics")).text.splitlines()
    assert 'paragone_prompt_tokens_total{model="polite"} 24.0' in figures
    assert 'paragone_requests_total{path="/v1/embeddings",status="200"} 5.0' in figures

    plain = vectors(await embed(client, TEXTS, encoding_format="float"))
    for entry, vector in zip(
        (await embed(client, TEXTS, encoding_format="base64")).json()["data"], plain, strict=True
    ):
        assert array("f", base64.b64decode(entry["embedding"])).tolist() == pytest.approx(vector, abs=1e-6)


async def test_many_texts_are_split_into_several_requests(client, engines):
    Textual.engine.asked.clear()
    texts = [" ".join(["red"] * (n % 5 + 1) + ["blue"]) for n in range(70)]
    found = vectors(await embed(client, texts, "textual"))
    assert Textual.engine.asked == [32, 32, 6]
    assert found == vectors(await embed(client, texts))
    assert found[:5] == found[5:10]


async def test_the_error_names_the_wrong_field(client):
    for fields in (
        {"input": None},
        {"input": ["a", 1]},
        {"input": ["a"] * 2049},
        {"dimensions": 256},
        {"encoding_format": "int8"},
    ):
        response = await client.post("/v1/embeddings", json={"model": "polite", "input": "red", **fields})
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, next(iter(fields)))


async def test_engines_without_embeddings_are_refused(client):
    none = await embed(client, "red", "steady")
    assert (none.status_code, none.json()["error"]["code"]) == (404, "not_supported")
    assert none.json()["error"]["message"] == "steady does not compute embeddings."
    ids = await embed(client, ["red", [1, 2]], "textual")
    assert (ids.status_code, ids.json()["error"]["param"]) == (400, "input")
    unknown = await embed(client, [[10**6]])
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (400, "invalid_request_error")
    for given in ("red " * 5000, [[0] * 5000]):
        long = await embed(client, given)
        assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    unnamed = await embed(client, "red", "gpt-4o")
    assert (unnamed.status_code, unnamed.json()["error"]["code"]) == (404, "model_not_found")
    assert (await embed(client, "red")).status_code == 200


async def test_a_disconnected_client_stops_the_computation(engines, client, until):
    body = {"model": "textual", "input": "forever"}
    leaving = Leaving(application(engines, "sesame", ServeSettings()), body, "/v1/embeddings")
    asking = asyncio.create_task(leaving.ask())
    textual = engines.find("textual")
    await until(lambda: textual.first.state == "running" and textual.computing == 1)
    leaving.leave()
    await asking
    assert (leaving.received[0]["status"], textual.computing) == (499, 0)
    assert (await embed(client, "red", "textual")).status_code == 200
