"""One prompt to local and remote engines through the program itself. A failure affects only its lane."""

import asyncio
import json

import pytest
import pytest_asyncio
from hostile_server import OLLAMA, OPENAI, HostileServer
from tests.cli.conftest import paragone


@pytest_asyncio.fixture
async def broken():
    """Give two servers that break off their answers, one for each protocol."""

    async def chat(exchange):
        await exchange.begin()
        await exchange.say("Once", " upon")
        await asyncio.sleep(0.05)
        exchange.reset()

    servers = [HostileServer(OLLAMA), HostileServer(OPENAI)]
    for server in servers:
        server.on_chat = chat
        await server.start()
    yield servers
    for server in servers:
        await server.stop()


async def compare(*engines, settings=(), options=()):
    """Run `paragone compare --json` and return what it printed, with its exit code."""
    command = ["compare", "--json", "--prompt", "What is the sea?", *options, *engines]
    command += [word for setting in settings for word in ("--set", setting)]
    done = await asyncio.to_thread(paragone, *command)
    assert done.stdout, done.stderr.decode()
    return json.loads(done.stdout), done.returncode


@pytest.mark.model
async def test_a_local_engine_beside_two_servers_and_two_that_fail(
    whole_smollm2, llama_cpp_server, ollama_server, broken
):
    found, code = await compare(
        f"llama_cpp:{whole_smollm2}",
        f"openai:smollm2@{llama_cpp_server[0]}",
        f"ollama:smollm2@{ollama_server}",
        f"ollama:m@{broken[0].url}",
        f"openai:m@{broken[1].url}",
        settings=["max_tokens=12", "temperature=0"],
    )
    *good, cut, also_cut = found["lanes"]
    assert [lane["backend"] for lane in good] == ["llama_cpp", "openai", "ollama"]
    for lane in good:
        assert lane["error"] is None, lane
        assert lane["finish"] == "length"
        assert len(lane["text"]) > 10
        assert lane["timings"]["ttft_s"] > 0
        assert lane["timings"]["decode_tps"] > 0
    for lane, server in zip((cut, also_cut), broken, strict=True):
        assert lane["text"] == "Once upon"
        assert lane["finish"] is None
        where = f"The server at {server.url}"
        assert lane["error"].startswith(f"{where} closed the connection in the middle of the answer.")
    assert code == 1
