"""Decode rate through paragone, compared with a plain loop over the library."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.programs import environment, paragone, smollm2, started
from bench.row import Row
from paragone.threads import physical_cores
from paragone_workbench.store import Store

__all__ = ["TOKENS", "ask", "decode"]

TOKENS = 512
PROMPT = "Write a very long story about a lighthouse keeper, with many chapters."
RUNS = 5

_PLAIN = """
import sys, time
from llama_cpp import Llama
model, prompt, tokens, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
llm = Llama(model, n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
times = []
messages = [{"role": "user", "content": prompt}]
for chunk in llm.create_chat_completion(messages, stream=True, max_tokens=tokens, temperature=0.0):
    if chunk["choices"][0]["delta"].get("content"):
        times.append(time.monotonic())
print((len(times) - 1) / (times[-1] - times[0]), len(times))
"""


def decode() -> Iterator[Row]:
    """Compare decode rates over 512 tokens, with greedy sampling and the same threads, in alternating runs.

    With one thread, the screen has a core of its own; with all cores in use, the screen takes CPU time from the engine.
    """
    for threads in sorted({1, physical_cores()}):
        yield from _compare(threads)


def _compare(threads: int) -> list[Row]:
    plain: list[float] = []
    asked: list[float] = []
    shown: list[float] = []
    for _ in range(RUNS):
        plain.append(_plain(threads))
        asked.append(ask(threads))
        shown.append(_screen(threads))
    base = statistics.median(plain)
    rows = []
    for name, speeds in (("`ask`", asked), ("the screen", shown)):
        speed = statistics.median(speeds)
        rows.append(
            Row(
                figure=f"decode rate over {TOKENS} tokens, {name}, {threads} thread{'s' * (threads > 1)}",
                measured=f"{speed / base:.2f} × ({speed:.0f} tokens/s)",
                baseline=f"`create_chat_completion(stream=True)`: {base:.0f} tokens/s, median of {RUNS}",
                budget="≥ 1.0 ×",
                holds=speed >= base,
            )
        )
    return rows


def _plain(threads: int) -> float:
    command = [sys.executable, "-c", _PLAIN, str(smollm2()), PROMPT, str(TOKENS), str(threads)]
    speed, count = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    _check(int(count))
    return float(speed)


def _settings(threads: int) -> tuple[str, ...]:
    options = {"n_ctx": 2048, "n_threads": threads, "max_tokens": TOKENS, "temperature": 0}
    return tuple(part for key, value in options.items() for part in ("--set", f"{key}={value}"))


def ask(threads: int) -> float:
    """Return the decode rate of one `ask` over 512 tokens with greedy sampling, in tokens/s."""
    command = paragone("ask", f"llama_cpp:{smollm2()}", PROMPT, "--json", *_settings(threads))
    with tempfile.TemporaryDirectory() as home:
        out = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment(home)
        ).stdout
    answer = json.loads(out)
    _check(answer["usage"]["completion_tokens"])
    return float(answer["timings"]["decode_tps"])


def _screen(threads: int) -> float:
    with tempfile.TemporaryDirectory() as home:
        program = paragone(f"llama_cpp:{smollm2()}", *_settings(threads))
        with started(program, home=home) as terminal:
            terminal.read_until("ready")
            terminal.send(f"{PROMPT}\r")
            terminal.read_until("done", 120)
            terminal.read_until_quiet(1.0)
        store = Store.open(Path(home) / "data" / "paragone" / "history.db")
        try:
            (summary,) = store.conversations()
            run = store.load(summary.number).lanes[0].head
        finally:
            store.close()
    assert run is not None
    assert run.result.metrics is not None
    assert run.result.metrics.decode_tps is not None
    _check(run.result.metrics.completion_tokens)
    return run.result.metrics.decode_tps


def _check(count: int) -> None:
    if count < TOKENS * 0.95:
        raise RuntimeError(f"The model answered with {count} tokens; the measurement needs {TOKENS}.")
