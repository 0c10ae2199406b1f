"""The CPU cores that compute threads can use: their number, and how to share them with other processes."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Final

__all__ = ["OPENMP", "physical_cores"]

OPENMP: Final = {"GOMP_SPINCOUNT": "10000"}
"""Environment variables for a program that computes with OpenMP, unless the user has set them.

The threads of GCC's OpenMP library spin while they wait for each other. By default the threads spin so long that one thread
without a free core delays all others. With two other busy processes on 2 cores, llama.cpp decoded 0.4 to 19 tokens/s by
default, and 30 to 33 with this setting. Without another busy process, llama.cpp decoded 65 tokens/s by default, and 63 with
this setting.
Source: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
"""


def physical_cores() -> int:
    """Return the number of cores that this process may run on; hyper-threads of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return _cores_of(frozenset(os.sched_getaffinity(0)))


@functools.lru_cache(maxsize=8)  # each run calls this, and one file per CPU must be read
def _cores_of(cpus: frozenset[int]) -> int:
    siblings = set()
    for cpu in cpus:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(topology.read_text())
        except OSError:
            siblings.add(str(cpu))
    return len(siblings)
