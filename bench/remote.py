"""Decode rate and time to first token of a server's answers, compared with a plain streaming client."""

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx

from bench.programs import smollm2
from bench.row import Row
from paragone import Message, OpenEngine, OpenRequest, RunRequest, Token
from paragone.discovery import discover

__all__ = ["remote"]

PROMPT = "Write a very long story about a lighthouse keeper, with many chapters."
TOKENS = 200
RUNS = 7


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """Run the server of llama-cpp-python with SmolLM2 on one thread, which leaves a core to the client."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "llama_cpp.server",
        "--model",
        str(smollm2()),
        "--model_alias",
        "smollm2",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "1024"]
    command += ["--n_threads", "1", "--n_threads_batch", "1"]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"{url}/v1/models", trust_env=False)
                    break
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait()


async def _bare(http: httpx.AsyncClient, url: str) -> AsyncIterator[None]:
    """Stream an answer with httpx alone, and yield once for each line that contains text."""
    body = {"model": "smollm2", "messages": [{"role": "user", "content": PROMPT}], "temperature": 0}
    async with http.stream(
        "POST", f"{url}/v1/chat/completions", json={**body, "max_tokens": TOKENS, "stream": True}, timeout=60
    ) as reply:
        async for line in reply.aiter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                yield


async def _lane(engine: OpenEngine) -> AsyncIterator[None]:
    request = RunRequest(
        messages=(Message(role="user", text=PROMPT),), sampling={"temperature": 0.0, "max_tokens": TOKENS}
    )
    async for event in engine.run(request):
        if isinstance(event, Token):
            yield


async def _figures(ticks: AsyncIterator[None]) -> tuple[float, float]:
    """Return the decode rate in tokens/s, and the time to first token in seconds."""
    start = time.monotonic()
    times = [time.monotonic() async for _ in ticks]
    return (len(times) - 1) / (times[-1] - times[0]), times[0] - start


async def _measure(url: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    backend = discover("openai").backends["openai"]
    engine = await backend.open(OpenRequest(model="smollm2", options={"url": url}), lambda progress: None)
    bare: list[tuple[float, float]] = []
    lane: list[tuple[float, float]] = []
    async with httpx.AsyncClient(trust_env=False) as http:
        await _figures(_bare(http, url))  # from now on, the prompt is in the server's cache for both
        for _ in range(RUNS):
            bare.append(await _figures(_bare(http, url)))
            lane.append(await _figures(_lane(engine)))
    await engine.close()
    return bare, lane


def remote() -> list[Row]:
    """Compare the backend with a plain streaming client on one server, in alternating runs."""
    with _server() as url:
        bare, lane = asyncio.run(_measure(url))
    (bare_speed, bare_first), (lane_speed, lane_first) = (
        [statistics.median(column) for column in zip(*runs, strict=True)] for runs in (bare, lane)
    )
    more = (lane_first - bare_first) * 1e3
    return [
        Row(
            figure="decode rate from a server",
            measured=f"{lane_speed / bare_speed:.3f} × ({lane_speed:.0f} tokens/s)",
            baseline=f"plain httpx stream from the same server: {bare_speed:.0f} tokens/s, median of {RUNS}",
            budget="≥ 0.98 ×",
            holds=lane_speed >= 0.98 * bare_speed,
        ),
        Row(
            figure="time to first token from a server",
            measured=f"{more:+.1f} ms ({lane_first * 1e3:.0f} ms)",
            baseline=f"plain httpx stream from the same server: {bare_first * 1e3:.0f} ms",
            budget="≤ +20 ms",
            holds=more <= 20,
        ),
    ]
