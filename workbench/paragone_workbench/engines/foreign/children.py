"""Child processes of a thread."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def kill_children(thread_id: int) -> None:
    """Kill the processes that a thread of this process has started, and their child processes.

    Only Linux lists the processes of a thread; on other systems, the function does nothing.
    """
    for process_id in [*_children(Path(f"/proc/self/task/{thread_id}"))]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process_id, signal.SIGKILL)


def _children(thread: Path) -> Iterator[int]:
    try:
        found = [int(number) for number in (thread / "children").read_text().split()]
    except OSError:  # the thread has ended, or the system is not Linux
        return
    for process_id in found:
        yield process_id
        for other in Path(f"/proc/{process_id}/task").glob("*"):
            yield from _children(other)
