"""This machine: its processor, memory, GPUs and operating system."""

import asyncio
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragone import Json
from paragone.threads import physical_cores
from paragone.worker.process import output_of

_TIMEOUT = 120.0
"""Seconds to wait for nvidia-smi, which is slow if the driver must be initialized first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as its driver reports it. None for values that the driver does not report."""

    name: str
    memory: int | None = None
    memory_free: int | None = None
    driver: str = ""


async def find_gpus() -> tuple[Sequence[Gpu], str]:
    """Return the GPUs that nvidia-smi lists, and, if nvidia-smi cannot list GPUs, the reason."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], "nvidia-smi was not found, so no NVIDIA driver is installed."
    query = ("--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits")
    try:
        status, output = await output_of(
            [program, *query], seconds=_TIMEOUT, longest=1 << 16, errors=asyncio.subprocess.STDOUT
        )
    except TimeoutError:
        return [], f"nvidia-smi gave no answer within {_TIMEOUT:g} seconds."
    except OSError as error:
        return [], f"nvidia-smi cannot be started: {error.strerror or error}."
    text = output.strip()
    if status:
        return [], f"nvidia-smi failed: {text.splitlines()[0] if text else f'exit code {status}'}"
    return [gpu for line in text.splitlines() if (gpu := _gpu(line)) is not None], ""


def _gpu(line: str) -> Gpu | None:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 4:
        return None
    name, memory, free, driver = fields
    return Gpu(name=name, memory=_mebibytes(memory), memory_free=_mebibytes(free), driver=driver)


def _mebibytes(text: str) -> int | None:
    return int(text) * 2**20 if text.isdigit() else None  # `[N/A]` if the memory is shared with the CPU


def machine_load() -> float:
    """Return the load average of the last minute: the mean number of threads that compute or wait for a core."""
    return os.getloadavg()[0]


MAIN = "main memory"
MARGIN = 1 << 30
"""Bytes to leave free on each device: the same margin as llama.cpp's (common/fit.cpp)."""


def main_memory() -> tuple[int | None, int | None]:
    """Return the total and the available bytes of main memory, within the control group's limit. None if unknown."""
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


_PATIENCE = 5.0
"""Seconds to wait for the GPUs' driver; the wait delays the first run."""

_known: dict[str, Json] = {}
"""The description after the first call; the machine does not change while the program runs."""


async def describe_machine() -> Mapping[str, Json]:
    """Return `cpu`, `cores`, `memory` (bytes), `gpus`, `os` and `python` of this machine. Later calls return immediately."""
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
