"""The cost of the screen: start time, output while idle, memory, and bytes and CPU time per streamed token."""

import statistics
import sys
import time

from bench.programs import BARE, paragone, started
from bench.row import Row
from bench.stream_cost import measure as measure_baseline
from bench.terminal import Terminal

__all__ = ["idle", "memory", "start", "streaming"]

LANES = 2
RATE = 50
TOKENS = 400
MIB = 2**20
SHARE = 80
"""The screen may use at most 1/SHARE of the CPU time of Markdown that is updated on each token."""
BEST_SHARE = 5
"""The screen may use at most 1/BEST_SHARE of the CPU time of a MarkdownStream, which combines tokens into fewer updates."""


def start(runs: int = 9) -> Row:
    """Measure the time from the start until a typed letter is displayed, alternating with the minimal program."""
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(runs):
        bare.append(_time_to_type(BARE, "Type here"))
        ours.append(_time_to_type(paragone("paced:one", "paced:two"), "Ask both"))
    mine, base = statistics.median(ours), statistics.median(bare)
    return Row(
        figure="start to a usable screen, two lanes",
        measured=f"{mine / base:.2f} × ({mine:.2f} s)",
        baseline=f"minimal Textual app with three widgets: {base:.2f} s, median of {runs}",
        budget="≤ 1.5 ×",
        holds=mine <= 1.5 * base,
    )


def _time_to_type(command: list[str], shown: str) -> float:
    begin = time.perf_counter()
    with started(command) as terminal:
        terminal.read_until(shown)
        terminal.send("Z")
        terminal.read_until("Z")
        return time.perf_counter() - begin


def idle(seconds: float = 60) -> Row:
    """Count the bytes written while idle, after the engines were loaded and a prompt was answered."""
    with started(paragone("paced:one", "paced:two", "--set", "max_tokens=20")) as terminal:
        _answered(terminal, 0.5)
        ours = terminal.read(seconds)
    with started(BARE) as terminal:
        terminal.read_until("Type here")
        terminal.read_until_quiet(0.3, 1)
        bare = terminal.read(seconds)
    return Row(
        figure=f"bytes written in {seconds:.0f} idle seconds",
        measured=f"{ours}",
        baseline=f"minimal app with a blinking cursor: {bare:,}",
        budget="0",
        holds=ours == 0,
    )


def memory() -> Row:
    """Measure the memory of the application's process alone (USS), without its workers."""
    with started(paragone("paced:one", "paced:two", "--set", "rate=500")) as terminal:
        _answered(terminal, 3)
        ours = terminal.memory()
    with started(BARE) as terminal:
        terminal.read_until("Type here")
        bare = terminal.memory()
    return Row(
        figure="memory of the application without workers",
        measured=f"{ours / MIB:.0f} MiB",
        baseline=f"minimal app: {bare / MIB:.0f} MiB",
        budget="≤ 80 MiB",
        holds=ours <= 80 * MIB,
    )


def streaming() -> list[Row]:
    """Measure bytes and CPU time per token while two lanes stream.

    There are two baselines: Textual's best, a MarkdownStream, and Markdown that is updated on each token.
    """
    sent, spent = _stream("paced:one", "paced:two")
    best = measure_baseline("stream", 0)
    naive = measure_baseline("update", 0)
    best_share, share = (cost["cpu_ms_a_token"] / spent for cost in (best, naive))
    what = f"{LANES} lanes × {RATE} tokens/s, 120×40, {TOKENS} tokens each"
    return [
        Row(
            figure=f"bytes per token, {what}",
            measured=f"{sent:.0f}",
            baseline=f"MarkdownStream: {best['bytes_a_token']:,.0f}; "
            f"Markdown updated on each token: {naive['bytes_a_token']:,.0f}",
            budget="≤ 100",
            holds=sent <= 100,
        ),
        Row(
            figure="CPU time of the screen per token, same run",
            measured=f"1/{best_share:.0f} ({spent:.2f} ms)",
            baseline=f"MarkdownStream: {best['cpu_ms_a_token']:.2f} ms",
            budget=f"≤ 1/{BEST_SHARE}",
            holds=best_share >= BEST_SHARE,
        ),
        Row(
            figure="CPU time of the screen per token, same run",
            measured=f"1/{share:.0f} ({spent:.2f} ms)",
            baseline=f"Markdown updated on each token: {naive['cpu_ms_a_token']:.2f} ms",
            budget=f"≤ 1/{SHARE}",
            holds=share >= SHARE,
        ),
    ]


def differences() -> Row:
    """Measure bytes and CPU time per token while two different answers stream, and their differences are marked."""
    equal, equal_cpu = _stream("paced:one", "paced:two")
    sent, spent = _stream("paced:one", "paced:other")
    return Row(
        figure=f"bytes per token with differences marked, {TOKENS} tokens each",
        measured=f"{sent:.0f} ({spent:.2f} ms of CPU)",
        baseline=f"two equal answers: {equal:.0f} ({equal_cpu:.2f} ms of CPU)",
        budget="≤ 100",
        holds=sent <= 100,
    )


def _stream(*engines: str) -> tuple[float, float]:
    """Return the bytes and the milliseconds of CPU time per token while two lanes stream an answer."""
    settings = ("--set", f"rate={RATE}", "--set", f"max_tokens={TOKENS}")
    with started(paragone(*engines, *settings)) as terminal:
        _ready(terminal)
        before, cpu = len(terminal.output), terminal.cpu()
        terminal.send("Why is the sky blue?\r")
        terminal.read(TOKENS / RATE + 1)
        terminal.read_until_quiet(1.0)
        if terminal.text.count("done") != LANES:
            raise RuntimeError(f"The lanes did not finish:\n{terminal.text}")
        sent = (len(terminal.output) - before) / (LANES * TOKENS)
        spent = (terminal.cpu() - cpu) * 1000 / (LANES * TOKENS)
    return sent, spent


def _ready(terminal: Terminal) -> None:
    deadline = time.monotonic() + 30
    while terminal.text.count("ready") != LANES:
        if time.monotonic() > deadline:
            raise RuntimeError(f"The lanes did not load:\n{terminal.text}")
        terminal.read(0.1)
    terminal.read_until_quiet(0.7)


def _answered(terminal: Terminal, seconds: float) -> None:
    _ready(terminal)
    terminal.send("Why is the sky blue?\r")
    terminal.read(seconds)
    terminal.read_until_quiet(1.0)
    if terminal.text.count("done") != LANES:
        raise RuntimeError(f"The lanes did not finish:\n{terminal.text}")


if __name__ == "__main__":
    sys.exit("run `make bench`")
