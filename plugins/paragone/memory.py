"""The memory that a model needs, before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DeviceMemory", "MemoryEstimate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """What one device would hold, in bytes."""

    device: str
    """`CPU`, or the GPU's name as the library has it."""
    weights: int
    kv_cache: int
    compute: int
    """Buffers for intermediate results."""
    free: int | None = None
    """Bytes of the device's memory that are free now; None where unknown."""
    total: int | None = None

    @property
    def needed(self) -> int:
        """All of it together."""
        return self.weights + self.kv_cache + self.compute


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """What opening a model would take, with the context window that it would have."""

    context: int
    """Context window in tokens."""
    devices: tuple[DeviceMemory, ...]
    layers: int | None = None
    """Layers of the model; None where unknown."""
    gpu_layers: int | None = None
    """Layers that would go to a GPU."""
