"""Measures the figures in docs/performance.md and prints them as one table: `make bench`, or `python -m bench NAME…`."""

import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bench import (
    decode,
    fidelity,
    history,
    llama_bench,
    remote,
    screen,
    serve,
    stop,
    suite,
    user_bench,
)
from bench.row import HEADING, Row, line

ROOT = Path(__file__).parents[1]

MEASURES: dict[str, Callable[[], Row | Iterable[Row]]] = {
    "start": screen.start,
    "idle": screen.idle,
    "streaming": screen.streaming,
    "differences": screen.differences,
    "decode": decode.decode,
    "history": history.history,
    "llama-bench": llama_bench.llama_bench,
    "user-bench": user_bench.user_bench,
    "fidelity": fidelity.fidelity,
    "suite": suite.suite,
    "stop": stop.stop,
    "remote": remote.remote,
    "serve": serve.serve,
    "memory": screen.memory,
}


def main(names: list[str]) -> int:
    """Run the named measurements, or all, and print each row as soon as it is measured.

    Return 1 if a figure exceeds its budget or a measurement fails, and 2 for an unknown name. A name that is given twice is
    measured twice.
    """
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        print(f"bench: unknown name {unknown[0]!r}; the names are: {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    commit, holds = _commit(), True
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs\n\n{HEADING}", flush=True)
    for name in names or MEASURES:
        print(f"measuring: {name} …", file=sys.stderr, flush=True)
        for row in _measured(name):
            print(line(row, commit), flush=True)
            holds = holds and row.holds is not False
    print(f"\nLoad {os.getloadavg()[0]:.1f} at the end", flush=True)
    return 0 if holds else 1


def _measured(name: str) -> Iterator[Row]:
    """Yield the rows of a measurement; if the measurement fails, a row with the error."""
    try:
        found = MEASURES[name]()
        yield from [found] if isinstance(found, Row) else found
    except Exception as error:  # noqa: BLE001 (the failure of one measurement must not stop the others)
        traceback.print_exc()
        yield Row(
            figure=name,
            measured="failed",
            baseline=f"{type(error).__name__}: {error}",
            budget="–",
            holds=False,
        )


def _commit() -> str:
    """Return the measured commit, with a + if tracked files have changed; `unknown` outside of a repository."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", *words], cwd=ROOT, capture_output=True, check=True, text=True
            ).stdout.strip()
            for words in (
                ("rev-parse", "--short=7", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}+" if changes else commit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
