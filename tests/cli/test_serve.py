"""`paragone serve` as a process, with the real model, asked over HTTP on loopback."""

import asyncio
import contextlib
import json
import math
import random
import re
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from ctypes import c_float, c_int8, c_int32
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.processes import engines_of

from paragone import InputError, OpenRequest
from paragone_cli.command_line import event_loop
from paragone_cli.commands import run
from paragone_llama_cpp.c_api import Batch, lib
from paragone_llama_cpp.llama_cpp_options import LlamaCppLoadOptions
from paragone_llama_cpp.model import open_model

from .conftest import Process, all_gone, forked, paragone, running, said

ROOT = Path(__file__).parents[2]
TEXT = "The capital of France is Paris."


@contextlib.contextmanager
def serving(*argv: str) -> Iterator[tuple[Process, str, str]]:
    """The running server, its address, and its key."""
    with running("serve", *argv, "--port", "0") as process:
        assert process.stdout is not None
        address, key = (process.stdout.readline().decode().split()[-1] for _ in range(2))
        yield process, address, key


async def test_smollm2_is_served(smol, monkeypatch):
    monkeypatch.delenv("PARAGONE_SERVE_KEY", raising=False)
    with serving(*smol) as (process, address, key):
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
            *of_text, _ = tokens = choice["logprobs"]["tokens"]
            assert ("".join(of_text), "".join(tokens)) == (TEXT, choice["text"])
            ids = (await client.post("../tokenize", json={"prompt": TEXT})).json()["tokens"]
            (by_ids,) = (await client.post("/completions", json={**echo, "prompt": ids})).json()["choices"]
            assert (by_ids["text"], by_ids["logprobs"]) == (choice["text"], choice["logprobs"])
            wrong = await client.post("/completions", json={"model": name, "prompt": [1 << 30]})
            assert (wrong.status_code, wrong.json()["error"]["type"]) == (400, "invalid_request_error")
            assert "There is no token 1073741824" in wrong.json()["error"]["message"]

            given = [TEXT, "Paris is the capital of France.", ids]
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


WORDS = "the of and to in a is that for it as was with be by on not he his but at are this have from or"


def questions(count: int) -> Iterator[tuple[str, list[str]]]:
    """Multiple-choice questions: a context, and choices of one to three words."""
    drawn, words = random.Random(36), WORDS.split()
    for _ in range(count):
        context = f"Q: {' '.join(drawn.choices(words, k=3))}\nA:"
        yield context, [" " + " ".join(drawn.choices(words, k=length)) for length in (1, 1, 3)]


class Loop:
    """llama.cpp's functions, called without the backend's own loop: one context for all texts."""

    def __init__(self, path: str) -> None:
        options = LlamaCppLoadOptions(n_threads=1, n_ctx=256)
        self._model = open_model(OpenRequest(model=path), options, lambda _: None, False)
        self._model.open_context()
        self.encode = self._model.vocab.tokenize

    def score(self, ids: Sequence[int], start: int, *, at_once: int) -> float:
        """The log-probability of the tokens from `start` on, computed `at_once` tokens at a time."""
        context, found = self._model.context.pointer, 0.0
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        for first in range(0, len(ids), at_once):
            part = ids[first : first + at_once]
            batch = Batch(n_tokens=len(part), token=(c_int32 * len(part))(*part))
            batch.logits = (c_int8 * len(part))(*[1] * len(part))
            assert lib.llama_decode(context, batch) == 0
            for at, following in enumerate(ids[first + 1 : first + 1 + len(part)], first):
                if at + 1 >= start:
                    address = lib.llama_get_logits_ith(context, at - first)
                    row = np.array((c_float * self._model.vocab.size).from_address(address), np.float64)
                    found += row[following] - row.max() - math.log(np.exp(row - row.max()).sum())
        return found


def test_a_harness_scores_choices_as_llama_cpp_does(smol):
    """What lm-evaluation-harness 0.4 sends for `local-completions` with the remote tokenizer, and how it reads the replies.

    Each second question is asked with a grammar after which the model stops immediately."""
    loop = Loop(smol[0].partition(":")[2])
    with serving(*smol, "--no-key") as (process, address, key):
        assert key == "none"
        with httpx.Client(base_url=address.removesuffix("/v1"), trust_env=False, timeout=60) as client:

            def encode(text: str) -> list[int]:
                body = {"prompt": text, "add_special_tokens": False}
                return client.post("/tokenize", json=body).json()["tokens"]

            info = client.get("/tokenizer_info").json()
            assert [encode(info[name]) for name in ("bos_token", "eos_token")] == [[1], [2]]
            assert (info["pad_token"], info["eos_token"] in info["chat_template"]) == (None, True)
            text = TEXT + "<|im_end|>é"
            assert client.post("/detokenize", json={"tokens": encode(text)}).json() == {"prompt": text}
            assert client.get("/v1/models").json()["data"][0]["max_model_len"] == 1024

            ours, own, noise = [], [], []
            for number, (context, choices) in enumerate(questions(40)):
                start = len(loop.encode(context))
                prompts = [loop.encode(context + choice) for choice in choices]
                body = {"prompt": prompts, "max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0}
                stops = {"grammar": 'root ::= ""'} if number % 2 else {}
                reply = client.post("/v1/completions", json={**body, **stops}).json()
                found = [choice["logprobs"] for choice in reply["choices"]]
                for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
                    assert sum(len(one[name]) for one in found) == reply["usage"]["total_tokens"]
                assert reply["usage"]["completion_tokens"] == len(prompts)
                scores = [sum(one["token_logprobs"][start:-1]) for one in found]
                expected = [loop.score(prompt, start, at_once=32) for prompt in prompts]
                assert scores.index(max(scores)) == expected.index(max(expected)), "the accuracy is another"
                ours += scores
                own += expected
                if number < 10:
                    assert prompts == [encode(context + choice) for choice in choices]
                    steps = [loop.score(prompt, start, at_once=1) for prompt in prompts]
                    noise += [abs(one - other) for one, other in zip(steps, expected, strict=True)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    # the engine computes logarithms of 32 bits
    assert ours == pytest.approx(own, rel=2**-22, abs=max(noise))


def test_the_config_limits_requests_and_a_signal_completes_the_answers_in_progress(monkeypatch, settings):
    monkeypatch.setenv("PARAGONE_SERVE_KEY", "sesame-open-sesame")
    settings("[serve]\nmessages = 1\n")
    endless = ("--set", "max_tokens=1000000", "--set", "rate=100")
    with serving("rogue:steady", *endless) as (process, address, _):
        asked = {"model": "steady", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        head = {"authorization": "Bearer sesame-open-sesame"}
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


def refused(*argv: str) -> str:
    done = paragone("serve", *argv)
    assert (done.returncode, done.stdout) == (2, b"")
    return said(done)


def test_an_unusable_address_is_refused():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert refused("rogue:steady", "--port", port) == (
            f"paragone: paragone cannot listen at 127.0.0.1:{port}: the port is in use.\n"
            "Choose another port with --port; 0 takes a free port.\n"
        )
    foreign = "192.0.2.1:8321: the address does not belong to this machine.\n"
    assert foreign in refused("rogue:steady", "--host", "192.0.2.1")
    assert "--host is not an IP address: example.test.\n" in refused("rogue:steady", "--host", "example.test")
    text = refused("rogue:steady", "--host", "0.0.0.0", "--port", "0", "--no-key")
    assert "Without a key, whoever can reach this machine at 0.0.0.0:" in text
    assert "Omit --no-key, or omit --host" in text
    offline = forked("serve", "rogue:steady", "--offline")
    assert offline.returncode == 2
    assert "paragone is offline, and does not listen at 127.0.0.1.\n" in said(offline)


def test_an_internal_error_that_repeats_is_reported_once(capsys):
    async def fail_twice() -> None:
        for _ in range(2):
            asyncio.get_running_loop().call_exception_handler({"message": "No file descriptor is left."})

    event_loop.run(fail_twice())
    assert capsys.readouterr().err.count("An internal error occurred") == 1


def test_without_its_packages_the_command_shows_how_to_install_them(monkeypatch):
    monkeypatch.delitem(sys.modules, "paragone_workbench.serving.listening", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(InputError, match="needs the package uvicorn") as caught:
        run(["serve", "rogue:steady"])
    assert "'uvicorn<1,>=" in caught.value.hint


def test_listening_on_a_network_without_a_key_is_refused(monkeypatch):
    monkeypatch.setenv("PARAGONE_SERVE_KEY", "sesame-open-sesame")
    text = refused("rogue:nothing", "--host", "0.0.0.0", "--port", "0")
    assert "Whoever can reach this machine at 0.0.0.0:" in text
    assert "There is no model 'nothing'." in text
    assert "sesame-open-sesame" not in text
    for key, reason in (
        ("sésame-open-sesame", "cannot be sent in a header of HTTP."),
        ("sesame-sesame-1", "is too short to be safe: it has fewer than 16 characters."),
    ):
        monkeypatch.setenv("PARAGONE_SERVE_KEY", key)
        assert f"The key in PARAGONE_SERVE_KEY {reason}\n" in refused("rogue:steady", "--port", "0")


@pytest.mark.parametrize("package", ["openai", "langchain_openai"])
def test_the_settings_for_clients_on_the_page_are_valid(monkeypatch, package):
    pytest.importorskip(package)
    page = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    (lines,) = (
        code for code in re.findall("```python\n(.*?)```", page, re.DOTALL) if f"from {package} " in code
    )
    monkeypatch.setenv("PARAGONE_SERVE_KEY", "sesame-open-sesame")
    with serving("rogue:steady") as (_, address, _):
        mine = lines.replace("http://127.0.0.1:8321/v1", address).replace('"small"', '"steady"')
        exec(mine, {"key": "sesame-open-sesame"})
