"""Answers of `paragone serve`, compared with those of llama-server on the same file."""

import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.programs import built, environment, paragone, smollm2
from bench.row import Row

__all__ = ["serve"]

PROMPT = "Write a very long story about a lighthouse keeper, with many chapters."
TOKENS = 200
PAIRS = 9
LEAST = 0.95
MOST_MS = 20
_KEY = "bench-" * 4


def serve() -> list[Row]:
    """Compare the rate and the time to the first token, on one thread, in alternating answers to one prompt."""
    program = built("llama-server")
    if not program.exists():
        return [
            Row(
                figure=f"{figure} of `paragone serve`",
                measured="not measured",
                baseline="llama-server is not built: run `make llama-server`",
                budget=budget,
                holds=None,
            )
            for figure, budget in (
                ("decode rate", f"≥ {LEAST} ×"),
                ("time to first token", f"≤ +{MOST_MS} ms"),
            )
        ]
    with _llama_server(program) as theirs, _paragone() as ours:
        pairs = asyncio.run(_measure(ours, theirs))
    # Ratios and differences of neighbouring answers: on a shared machine the speed changes from answer to answer.
    ratio = statistics.median(mine[0] / its[0] for mine, its in pairs)
    more = statistics.median(mine[1] - its[1] for mine, its in pairs) * 1e3
    (our_rate, our_first), (their_rate, their_first) = (
        [statistics.median(column) for column in zip(*side, strict=True)] for side in zip(*pairs, strict=True)
    )
    return [
        Row(
            figure=f"decode rate of `paragone serve` over {TOKENS} tokens, 1 thread",
            measured=f"{ratio:.2f} × ({our_rate:.0f} tokens/s)",
            baseline=f"llama-server: {their_rate:.0f} tokens/s, median of {PAIRS} pairs",
            budget=f"≥ {LEAST} ×",
            holds=ratio >= LEAST,
        ),
        Row(
            figure="time to first token of `paragone serve`, the prompt in the KV cache",
            measured=f"{more:+.1f} ms ({our_first * 1e3:.0f} ms)",
            baseline=f"llama-server: {their_first * 1e3:.0f} ms, median of {PAIRS} pairs",
            budget=f"≤ +{MOST_MS} ms",
            holds=more <= MOST_MS,
        ),
    ]


@contextlib.contextmanager
def _llama_server(program: Path) -> Iterator[str]:
    options = ["-m", str(smollm2()), "-c", "1024", "-np", "1", "-t", "1", "-tb", "1", "-fa", "off"]
    with _running([str(program), *options, "--offline"], "--alias", "model") as address:
        yield address


@contextlib.contextmanager
def _paragone() -> Iterator[str]:
    settings = [
        word for value in ("n_threads=1", "n_ctx=1024", "flash_attn=off") for word in ("--set", value)
    ]
    with _running(paragone("serve", f"llama_cpp:{smollm2()}", *settings)) as address:
        yield address


@contextlib.contextmanager
def _running(command: list[str], *more: str) -> Iterator[str]:
    """Run a server on a free port of loopback, and yield its address once it can answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as home, (Path(home) / "log").open("wb") as log:
        env = {**environment(home), "PARAGONE_SERVE_KEY": _KEY}
        server = subprocess.Popen([*command, *more, "--port", str(port)], env=env, stdout=log, stderr=log)
        address = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + 120
            while not _is_ready(address):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start: {(Path(home) / 'log').read_text()}")
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            server.wait()


def _is_ready(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{address}/health", trust_env=False).status_code == 200
    return False


async def _measure(ours: str, theirs: str) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the rate in tokens/s and the time to the first token in seconds, of both servers, for each pair."""
    headers = {"authorization": f"Bearer {_KEY}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=120) as http:
        model = (await http.get(f"{ours}/v1/models")).json()["data"][0]["id"]
        for address in (ours, theirs):
            await _figures(http, address, model)  # from now on, the prompt is in the KV cache of both
        pairs = []
        for _ in range(PAIRS):
            mine = await _figures(http, ours, model)
            pairs.append((mine, await _figures(http, theirs, model)))
    return pairs


async def _figures(http: httpx.AsyncClient, address: str, model: str) -> tuple[float, float]:
    """Return the rate and the time to the first token of one streamed answer."""
    asked = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "temperature": 0}
    more = {"max_tokens": TOKENS, "stream": True, "stream_options": {"include_usage": True}}
    times: list[float] = []
    tokens = 0
    start = time.monotonic()
    async with http.stream("POST", f"{address}/v1/chat/completions", json={**asked, **more}) as reply:
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[len("data: ") :])
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                times.append(time.monotonic())
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    return (tokens - 1) / (times[-1] - times[0]), times[0] - start
