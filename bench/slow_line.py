"""How long a key and a stop wait on a slow line, while two lanes stream faster than the line transmits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from bench.programs import paragone, started
from bench.row import Row
from bench.terminal import Terminal

__all__ = ["slow_line"]

SPEEDS = (9_600, 56_000)
"""Bits per second. A byte takes 10 bits on the line."""
STREAMED_S = 30
KEYS = "QXZJ"
_PATIENCE_S = 150.0
_STREAMING = ("paced:one", "paced:other", "--set", "rate=50", "--set", "max_tokens=8000")


def slow_line() -> Iterator[Row]:
    """Count the bytes that the line transmits before it shows a key or a stop, at each speed.

    Unlike seconds, bytes do not depend on how busy the machine is. The baseline is the bytes that the line transmitted
    while the answers streamed before.
    """
    for speed in SPEEDS:
        yield from _on_line(speed)


def _on_line(speed: int) -> list[Row]:
    with started(paragone(*_STREAMING), bits_per_s=speed) as terminal:
        terminal.wait_for(lambda: terminal.text.count("ready") >= 2, _PATIENCE_S)
        terminal.read_until_quiet(1.0)
        terminal.send("Why is the sky blue?\r")
        streamed = terminal.read(STREAMED_S)
        keys = [_bytes_until(terminal, key, partial(_is_in_prompt, terminal, key)) for key in KEYS]
        stop = _bytes_until(terminal, "\x03", lambda: terminal.text.count("stopped") >= 2)
    bytes_a_s = speed / 10
    baseline = f"{streamed:,} bytes in {STREAMED_S} s of streaming"
    line = f"at {speed:,} bit/s, two lanes × 50 tokens/s"
    return [
        Row(
            figure=f"a key shows after, {line}",
            measured=f"{max(keys) / bytes_a_s:.2f} s of the line ({max(keys):,} bytes), maximum of {len(keys)}",
            baseline=baseline,
            budget="≤ 0.5 s",
            holds=max(keys) <= 0.5 * bytes_a_s,
        ),
        Row(
            figure=f"a stop shows after, {line}",
            measured=f"{stop / bytes_a_s:.2f} s of the line ({stop:,} bytes)",
            baseline=baseline,
            budget="≤ 1 s",
            holds=stop <= bytes_a_s,
        ),
    ]


def _is_in_prompt(terminal: Terminal, key: str) -> bool:
    return key in terminal.lines[-2]


def _bytes_until(terminal: Terminal, key: str, shown: Callable[[], bool]) -> int:
    before = len(terminal.output)
    terminal.send(key)
    if not terminal.wait_for(shown, _PATIENCE_S):
        raise RuntimeError(f"{key!r} has no effect:\n{terminal.text}")
    after = len(terminal.output)
    terminal.read(0.4)
    return after - before
