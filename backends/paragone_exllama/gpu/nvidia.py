"""Query the NVIDIA driver and its GPUs through NVML, without a CUDA context.

NVML (libnvidia-ml) comes with the driver. NVIDIA's "NVML API Reference" documents NVML.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

AMPERE = (8, 0)
"""The compute capability of the oldest GPUs that flash-attn runs on."""

_UNINITIALIZED_REASONS = {
    9: "the NVIDIA driver is not loaded",
    18: "the NVIDIA driver was updated and the machine has not been restarted since",
}


class NoDriver(Exception):
    """There is no working NVIDIA driver. The message gives the reason."""


class NvidiaGpu(NamedTuple):
    """One GPU, or one part (MIG) of a GPU. Memory is in bytes; 0 if the driver does not report it."""

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
    """The newest CUDA version that the driver supports."""
    gpus: tuple[NvidiaGpu, ...]


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@contextmanager
def _nvml() -> Iterator[ctypes.CDLL]:
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
        yield nvml
    finally:
        nvml.nvmlShutdown()


def query_driver() -> Driver:
    """Query the driver. Raises NoDriver."""
    with _nvml() as nvml:
        cuda = ctypes.c_int()
        nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda))
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        return Driver(
            version=_text(nvml.nvmlSystemGetDriverVersion),
            cuda=(cuda.value // 1000, cuda.value % 1000 // 10),
            gpus=tuple(_gpu(nvml, _handle(nvml, index)) for index in range(count.value)),
        )


def visible(gpus: tuple[NvidiaGpu, ...]) -> tuple[NvidiaGpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names, in the order of this variable.

    As in CUDA, the list ends at the first entry that is not a GPU.
    """
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    chosen: list[NvidiaGpu] = []
    for entry in wanted.split(","):
        name = entry.strip()
        if name.isdecimal() and int(name) < len(gpus):
            chosen.append(gpus[int(name)])
        elif name.startswith("GPU-") and (found := [gpu for gpu in gpus if gpu.uuid.startswith(name)]):
            chosen.append(found[0])
        elif name.startswith("MIG-") and (part := _part(name)) is not None:
            chosen.append(part)
        else:
            break
    return tuple(chosen)


def visible_gpus() -> tuple[NvidiaGpu, ...]:
    """Return the NVIDIA GPUs that this process may use; none without a driver."""
    try:
        return visible(query_driver().gpus)
    except NoDriver:
        return ()


def _handle(nvml: ctypes.CDLL, index: int) -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    return handle


def _part(uuid: str) -> NvidiaGpu | None:
    """Return the MIG part with this UUID; None if there is none."""
    handle = ctypes.c_void_p()
    with _nvml() as nvml:
        if nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
            return None
        part = _gpu(nvml, handle)
    # The driver does not report the compute capability of MIG parts. GPUs before Ampere have no MIG.
    return part if part.capability > (0, 0) else part._replace(capability=AMPERE)


def _gpu(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> NvidiaGpu:
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), _Memory()
    nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    # For GPUs that share the machine's memory, the driver reports no memory.
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return NvidiaGpu(
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
