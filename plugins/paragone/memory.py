"""Estimates of the memory that a model needs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DeviceMemory", "MemoryEstimate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """The memory that a model would take on one device, in bytes.

    Attributes:
        device: `CPU`, or the library's name for the GPU.
        weights: For the model's weights.
        kv_cache: For the KV cache of the whole context window.
        compute: For intermediate results.
        free: Free memory of the device now; None if unknown.
        total: Total memory of the device; None if unknown.
    """

    device: str
    weights: int
    kv_cache: int
    compute: int
    free: int | None = None
    total: int | None = None

    @property
    def needed(self) -> int:
        """The sum of `weights`, `kv_cache` and `compute`."""
        return self.weights + self.kv_cache + self.compute


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """The memory that opening a model would take.

    Attributes:
        context: Context window that the model would be opened with, in tokens.
        devices: The memory on each device that would be used.
        layers: Number of layers of the model; None if unknown.
        gpu_layers: Number of layers that would be on a GPU; None if unknown.
    """

    context: int
    devices: tuple[DeviceMemory, ...]
    layers: int | None = None
    gpu_layers: int | None = None
