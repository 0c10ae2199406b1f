"""Requests to the configured servers; the servers are doubles, the clients are real."""

import pytest
from hostile_server import OLLAMA, OPENAI, HostileServer

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.models import normalize_url, query_endpoints


@pytest.fixture
async def serve():
    """A function that starts a double of a server; all are stopped at the end of the test."""
    servers = []

    async def start(protocol):
        servers.append(HostileServer(protocol))
        await servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        await server.stop()


def engine(name, backend="ollama", **options):
    return EngineDefinition(name=name, backend=backend, model="m", options=options)


async def test_engines_share_a_server(serve):
    one, other = await serve(OLLAMA), await serve(OPENAI)
    one.replies["/api/ps"] = {"models": [{"model": "m:latest", "size": 2**31, "size_vram": 2**31}]}
    found = await query_endpoints(
        [
            engine("a", url=one.url),
            engine("b", url=one.url, num_ctx=512),
            engine("c", url=one.url, temperature=0),
            engine("d", "openai", url=other.url),
            engine("e", "rogue"),
        ],
        Registry().find,
    )
    assert [(it.backend, it.engines, it.url) for it in found] == [
        ("ollama", ("a", "c", "b"), one.url),
        ("openai", ("d",), other.url),
    ]
    assert found[0].report.probe.facts["loaded"].startswith("m:latest (2.1 GB")
    assert [[model.model for model in it.report.models] for it in found] == [["m:latest"], ["m"]]
    # engines may use different servers because of load options, not because of sampling options
    assert [request.path for request in one.requests].count("/api/version") == 2


SERVERS = [
    ["http://localhost:11434", "http://127.0.0.1:11434/", " http://LOCALHOST:11434// "],
    ["http://box", "http://box:80/"],
    ["https://Box/v1/", "https://box:443/v1"],
    *[
        [url]
        for url in ("https://box", "http://box:8000", "http://box/v1", "http://127.0.0.2", "http://[::1]")
    ],
    *[[url] for url in ("http://localhost", "http://box:port", "box", "")],
]
"""The spellings of the addresses of different servers."""


def test_spellings_of_the_same_server():
    found = [{normalize_url(url) for url in spellings} for spellings in SERVERS]
    assert [len(it) for it in found] == [1] * len(SERVERS)
    assert len(set.union(*found)) == len(SERVERS)
