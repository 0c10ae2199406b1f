"""Describe this machine for manifests: its processor, memory, GPUs and operating system."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping
from pathlib import Path

from paragone import Json
from paragone.cores import physical_cores
from paragone_workbench.machine.gpus import find_gpus
from paragone_workbench.machine.memory import main_memory

_PATIENCE = 5.0
"""Seconds to wait for the GPUs' driver, which delays the first run."""

_known: dict[str, Json] = {}
"""The description after the first call; the machine does not change while the program runs."""


async def describe_machine() -> Mapping[str, Json]:
    """Return `cpu`, `cores`, `memory` (bytes), `gpus`, `os` and `python` of this machine. Later calls return at once."""
    if not _known:
        _known.update(
            cpu=await asyncio.to_thread(_cpu),
            cores=physical_cores(),
            memory=main_memory()[0],
            gpus=await _gpus(),
            os=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
        )
    return _known


async def _gpus() -> list[Json] | None:
    """Return the NVIDIA GPUs; None if the GPUs' driver does not answer in time."""
    try:
        async with asyncio.timeout(_PATIENCE):
            gpus, _ = await find_gpus()
    except TimeoutError:
        return None
    return [{"name": gpu.name, "memory": gpu.memory, "driver": gpu.driver} for gpu in gpus]


def _cpu() -> str:
    """Return the name of the processor, or else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not on Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
