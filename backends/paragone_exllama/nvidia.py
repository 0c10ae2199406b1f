"""What the NVIDIA driver says of itself and its GPUs, by way of NVML: no CUDA context is made.

NVML (libnvidia-ml) is documented in NVIDIA's "NVML API Reference"; it comes with the driver.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["AMPERE", "Driver", "Gpu", "NoDriver", "look", "visible"]

AMPERE = (8, 0)
"""The compute capability of the oldest GPUs that flash-attn runs on."""

_UNINITIALIZED_REASONS = {
    9: "the NVIDIA driver is not loaded",
    18: "the NVIDIA driver was updated and the machine has not been restarted since",
}


class NoDriver(Exception):
    """There is no NVIDIA driver that answers; the text says why."""


class Gpu(NamedTuple):
    """One GPU. Memory is in bytes."""

    name: str
    uuid: str
    capability: tuple[int, int]
    """Compute capability, such as (8, 6)."""
    total: int
    free: int


class Driver(NamedTuple):
    """The driver, and the GPUs in the order of their PCI addresses."""

    version: str
    cuda: tuple[int, int]
    """The newest CUDA that it can run."""
    gpus: tuple[Gpu, ...]


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def look() -> Driver:
    """Ask the driver. Raises NoDriver."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        raise NoDriver("there is no NVIDIA driver on this machine") from None
    code = nvml.nvmlInit_v2()
    if code:
        raise NoDriver(
            _UNINITIALIZED_REASONS.get(code, f"the NVIDIA driver does not answer (NVML error {code})")
        )
    try:
        cuda = ctypes.c_int()
        nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda))
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        return Driver(
            version=_text(nvml.nvmlSystemGetDriverVersion),
            cuda=(cuda.value // 1000, cuda.value % 1000 // 10),
            gpus=tuple(_gpu(nvml, index) for index in range(count.value)),
        )
    finally:
        nvml.nvmlShutdown()


def visible(gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves to this process, in its order.

    As in CUDA, the list ends at the first entry that names no GPU.
    """
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    chosen: list[Gpu] = []
    for entry in wanted.split(","):
        name = entry.strip()
        if name.isdecimal() and int(name) < len(gpus):
            chosen.append(gpus[int(name)])
        elif name.startswith("GPU-") and (found := [gpu for gpu in gpus if gpu.uuid.startswith(name)]):
            chosen.append(found[0])
        else:
            break
    return tuple(chosen)


def _gpu(nvml: ctypes.CDLL, index: int) -> Gpu:
    handle = ctypes.c_void_p()
    nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), _Memory()
    nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return Gpu(
        name=_text(nvml.nvmlDeviceGetName, handle),
        uuid=_text(nvml.nvmlDeviceGetUUID, handle),
        capability=(major.value, minor.value),
        total=memory.total,
        free=memory.free,
    )


def _text(function: Callable[..., object], *arguments: object) -> str:
    buffer = ctypes.create_string_buffer(96)
    function(*arguments, buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")
