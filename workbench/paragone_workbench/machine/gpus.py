"""The NVIDIA GPUs of this machine, as its driver's own program tells of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Gpu", "find_gpus"]

_PATIENCE = 120.0
"""Seconds: a driver that nothing has used yet takes its time to wake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as its driver tells of it. None where it does not."""

    name: str
    memory: int | None = None
    """Bytes."""
    memory_free: int | None = None
    """Bytes."""
    driver: str = ""


async def find_gpus() -> tuple[Sequence[Gpu], str]:
    """Ask nvidia-smi for the GPUs. Returns them, and why there are none to be told of."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], "nvidia-smi is not there, so no NVIDIA driver is installed."
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
        async with asyncio.timeout(_PATIENCE):
            said, _ = await process.communicate()
    except TimeoutError:
        return [], f"nvidia-smi gave no answer within {_PATIENCE:g} seconds."
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = said.decode(errors="replace").strip()
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
