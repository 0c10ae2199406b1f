"""Measures the figures in the README and prints them as one table: `make bench`, or `python -m bench NAME…`."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable

from bench import (
    decode,
    fidelity,
    history,
    llama_bench,
    remote,
    screen,
    serve,
    slow_line,
    stop,
    suite,
    user_bench,
)
from bench.row import Row, table

MEASURES: dict[str, Callable[[], Row | Iterable[Row]]] = {
    "start": screen.start,
    "idle": screen.idle,
    "streaming": screen.streaming,
    "differences": screen.differences,
    "slow-line": slow_line.slow_line,
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
    """Run the named measurements, or all. Return 1 if a figure exceeds its budget, and 2 for an unknown name.

    A name that is given twice is measured twice.
    """
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        print(f"bench: unknown name {unknown[0]!r}; the names are: {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in names or MEASURES:
        print(f"measuring: {name} …", file=sys.stderr, flush=True)
        found = MEASURES[name]()
        rows += [found] if isinstance(found, Row) else found
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {load:.1f} at the end\n")
    print(table(rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
