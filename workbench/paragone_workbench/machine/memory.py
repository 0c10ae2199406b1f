"""Main memory and GPU memory: total and available."""

from __future__ import annotations

import os
from pathlib import Path

from paragone_workbench.machine.gpus import find_gpus

MAIN = "main memory"
MARGIN = 1 << 30
"""Bytes to leave free on each device: the margin that llama.cpp uses (common/fit.cpp)."""


def main_memory() -> tuple[int | None, int | None]:
    """Return the total and the available bytes of main memory. None if unknown.

    A smaller limit of the program's control group replaces the total.
    """
    try:
        total: int | None = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        total = None
    free = None
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, KeyError, ValueError):  # not on Linux, no control group, or `max` for no limit
        return total, free
    return min(total or limit, limit), min(free, max(0, limit - used))


async def free_memory() -> dict[str, int]:
    """Return the available bytes of main memory and of each GPU by name, if known."""
    gpus, _ = await find_gpus()
    free = {f"GPU {number}": gpu.memory_free for number, gpu in enumerate(gpus)}
    free[MAIN] = main_memory()[1]
    return {name: size for name, size in free.items() if size is not None}
