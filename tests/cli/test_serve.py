"""`paragone serve` as a process, with the real model, asked over HTTP on loopback."""

import json
import re
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest
from tests.processes import engines_of

from paragone import InputError, ScoreRequest, Token, TokenizeRequest
from paragone_cli.commands import run
from paragone_workbench.workbench import Workbench

from .conftest import all_gone, forked, paragone, running, said

ROOT = Path(__file__).parents[2]
TEXT = "The capital of France is Paris."


async def scores(model: str) -> list[Token]:
    """The tokens of the text with their log-probabilities, computed in this process's own engine."""
    async with Workbench() as workbench:
        handle = await workbench.open(model, n_threads=1, n_ctx=1024)

        async def score(opened):
            ids = (await opened.tokenize(TokenizeRequest(text=TEXT))).ids
            return [event async for event in opened.score(ScoreRequest(ids=ids))]

        events = await handle.use(score)
    return [event for event in events if isinstance(event, Token)]


async def test_the_real_model_is_served(smol, monkeypatch):
    monkeypatch.delenv("PARAGONE_SERVE_KEY", raising=False)
    engine = smol[0]
    with running("serve", *smol, "--port", "0") as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().split()[-1]
        key = process.stdout.readline().decode().split()[-1]
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as client:
            name = (await client.get("/models")).json()["data"][0]["id"]
            asked = {"model": name, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
            whole = (await client.post("/chat/completions", json=asked)).json()
            async with client.stream("POST", "/chat/completions", json={**asked, "stream": True}) as reply:
                lines = [line async for line in reply.aiter_lines() if line]
            assert lines.pop() == "data: [DONE]"
            deltas = [json.loads(line[len("data: ") :])["choices"][0]["delta"] for line in lines]
            text = "".join(delta.get("content", "") for delta in deltas)
            assert text == whole["choices"][0]["message"]["content"]

            greedy, narrowed = [
                (await client.post("/chat/completions", json={**asked, **fields})).json()["choices"]
                for fields in ({"temperature": 0}, {"temperature": 50, "top_k": 1})
            ]
            assert narrowed == greedy

            schema = {"name": "colour", "schema": {"enum": ["red", "blue"]}}
            form = {"response_format": {"type": "json_schema", "json_schema": schema}, "max_tokens": 20}
            (choice,) = (await client.post("/chat/completions", json={**asked, **form})).json()["choices"]
            assert json.loads(choice["message"]["content"]) in ("red", "blue")

            echo = {"model": name, "prompt": TEXT, "max_tokens": 1, "echo": True, "logprobs": 1}
            (choice,) = (await client.post("/completions", json=echo)).json()["choices"]
            tokens = choice["logprobs"]["tokens"]
            assert "".join(tokens[:-1]) == TEXT
            assert choice["text"] == "".join(tokens)
            own = await scores(engine)
            assert choice["logprobs"]["token_logprobs"][:-1] == [token.logprob for token in own]

            echo["prompt"] = [[token.id for token in own]]
            (by_ids,) = (await client.post("/completions", json=echo)).json()["choices"]
            assert (by_ids["text"], by_ids["logprobs"]) == (choice["text"], choice["logprobs"])
            wrong = await client.post("/completions", json={"model": name, "prompt": [1 << 30]})
            assert (wrong.status_code, wrong.json()["error"]["type"]) == (400, "invalid_request_error")
            assert "There is no token 1073741824" in wrong.json()["error"]["message"]

            given = [TEXT, "Paris is the capital of France.", [token.id for token in own]]
            embeddings = (await client.post("/embeddings", json={"model": name, "input": given})).json()
            vectors = [entry["embedding"] for entry in embeddings["data"]]
            assert vectors[0] == vectors[2] != vectors[1]
            assert len(vectors[0]) == 576
            assert sum(number * number for number in vectors[0]) == pytest.approx(1, abs=1e-5)

            async with client.stream(
                "POST", "/chat/completions", json={**asked, "max_tokens": 900, "stream": True}
            ) as reply:
                await anext(reply.aiter_lines())  # the client leaves in the middle of an answer
            again = (await client.post("/chat/completions", json=asked)).json()
            assert again["choices"] == whole["choices"]
        engines = engines_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        assert engines
        assert all_gone(engines)


def test_the_config_limits_requests_and_a_signal_completes_the_answers_in_progress(monkeypatch, settings):
    monkeypatch.setenv("PARAGONE_SERVE_KEY", "sesame")
    settings("[serve]\nmessages = 1\n")
    endless = ("--set", "max_tokens=1000000", "--set", "rate=100")
    with running("serve", "rogue:steady", *endless, "--port", "0") as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().split()[-1]
        asked = {"model": "steady", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        head = {"authorization": "Bearer sesame"}
        twice = {**asked, "messages": [{"role": "user", "content": "hello"}] * 2}
        two = httpx.post(f"{address}/chat/completions", json=twice, headers=head)
        assert two.json()["error"]["message"] == "messages must be at most 1 messages."
        with httpx.stream(
            "POST", f"{address}/chat/completions", json=asked, headers=head, timeout=60
        ) as reply:
            lines = filter(None, reply.iter_lines())
            assert any("word0" in line for line in lines), "the answer has begun"
            process.send_signal(signal.SIGTERM)
            *_, error, done = lines
            assert json.loads(error.removeprefix("data: "))["error"]["message"] == "The server is ending."
            assert done == "data: [DONE]"
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_an_address_that_cannot_be_used():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        taken = paragone("serve", "rogue:steady", "--port", port)
        assert taken.returncode == 2
        assert said(taken) == (
            f"paragone: paragone cannot listen at 127.0.0.1:{port}: the port is in use.\n"
            "Choose another port with --port; 0 takes a free port.\n"
        )
    foreign = paragone("serve", "rogue:steady", "--host", "192.0.2.1")
    assert foreign.returncode == 2
    assert "192.0.2.1:8321: the address does not belong to this machine.\n" in said(foreign)
    named = paragone("serve", "rogue:steady", "--host", "example.test")
    assert named.returncode == 2
    assert "--host is not an IP address: example.test.\n" in said(named)
    offline = forked("serve", "rogue:steady", "--offline")
    assert offline.returncode == 2
    assert "paragone is offline, and does not listen at 127.0.0.1.\n" in said(offline)


def test_without_its_packages_the_command_says_how_to_install_them(monkeypatch):
    monkeypatch.delitem(sys.modules, "paragone_workbench.serving.listening", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(InputError, match="needs the package uvicorn") as caught:
        run(["serve", "rogue:steady"])
    assert "'uvicorn<1,>=" in caught.value.hint


def test_an_engine_that_cannot_be_opened_beyond_this_machine(monkeypatch):
    monkeypatch.setenv("PARAGONE_SERVE_KEY", "sesame")
    done = paragone("serve", "rogue:nothing", "--host", "0.0.0.0", "--port", "0")
    assert (done.returncode, done.stdout) == (2, b"")
    text = said(done)
    assert "Whoever can reach this machine at 0.0.0.0:" in text
    assert "There is no model 'nothing'." in text
    assert "sesame" not in text
    monkeypatch.setenv("PARAGONE_SERVE_KEY", "sésame ")
    refused = paragone("serve", "rogue:steady", "--port", "0")
    assert refused.returncode == 2
    assert "The key in PARAGONE_SERVE_KEY cannot be sent in a header of HTTP.\n" in said(refused)


@pytest.mark.parametrize("package", ["openai", "langchain_openai"])
def test_the_lines_of_the_page_for_clients(monkeypatch, package):
    pytest.importorskip(package)
    page = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    (lines,) = (
        code for code in re.findall("```python\n(.*?)```", page, re.DOTALL) if f"from {package} " in code
    )
    monkeypatch.setenv("PARAGONE_SERVE_KEY", "sesame")
    with running("serve", "rogue:steady", "--port", "0") as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().split()[-1]
        mine = lines.replace("http://127.0.0.1:8321/v1", address).replace('"small"', '"steady"')
        exec(mine, {"key": "sesame"})
