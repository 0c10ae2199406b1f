"""The NVIDIA GPUs of this machine, as nvidia-smi reports them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

_TIMEOUT = 120.0
"""Seconds to wait for nvidia-smi, which is slow if the driver must be initialized first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as its driver reports it. None for values that the driver does not report."""

    name: str
    memory: int | None = None
    """Total memory, in bytes."""
    memory_free: int | None = None
    """Free memory, in bytes."""
    driver: str = ""


async def find_gpus() -> tuple[Sequence[Gpu], str]:
    """Return the GPUs that nvidia-smi lists, and, if nvidia-smi cannot list GPUs, the reason."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], "nvidia-smi was not found, so no NVIDIA driver is installed."
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "--query-gpu=name,memory.total,memory.free,driver_version",
            "--format=csv,noheader,nounits",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        return [], f"nvidia-smi cannot be started: {error.strerror or error}."
    try:
        async with asyncio.timeout(_TIMEOUT):
            output, _ = await process.communicate()
    except TimeoutError:
        return [], f"nvidia-smi gave no answer within {_TIMEOUT:g} seconds."
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace").strip()
    if process.returncode:
        return [], f"nvidia-smi failed: {text.splitlines()[0] if text else f'exit code {process.returncode}'}"
    return [gpu for line in text.splitlines() if (gpu := _gpu(line)) is not None], ""


def _gpu(line: str) -> Gpu | None:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 4:
        return None
    name, memory, free, driver = fields
    return Gpu(name=name, memory=_mebibytes(memory), memory_free=_mebibytes(free), driver=driver)


def _mebibytes(text: str) -> int | None:
    return int(text) * 2**20 if text.isdigit() else None  # `[N/A]` where memory is shared with the CPU
