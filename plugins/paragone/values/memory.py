"""Estimates of the memory that a model needs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DeviceMemory", "MemoryEstimate", "ModelLayout", "ModelPart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """The memory that a model would take on one device, in bytes.

    Attributes:
        device: `CPU`, or the library's name for the GPU.
        weights: Memory for the model's weights.
        kv_cache: Memory for the KV cache of the whole context window.
        compute: Memory for intermediate results.
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

    @property
    def fits(self) -> bool | None:
        """Whether the free memory is enough; None if the free memory is unknown."""
        return None if self.free is None else self.needed <= self.free


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """The sizes in bytes of a part of a model, such as a layer, which cannot be divided between devices.

    Attributes:
        weights: Bytes of the part's weights on a GPU.
        kv_cache: Bytes of the part's share of the KV cache of the whole context window.
        shared: Bytes of the part's weights that are in main memory in any case, such as an embedding table that
            is also the output matrix. If the part stays in main memory, these weights need no second copy.
        experts: Bytes of the part's weights that are experts (mixture of experts), which can stay in main memory while the
            rest is on a GPU; 0 if the engine has no option to keep experts in main memory.
    """

    weights: int
    kv_cache: int = 0
    shared: int = 0
    experts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLayout:
    """How a model can be divided between main memory and GPUs, even GPUs that this machine does not have.

    Attributes:
        parts: The layers in their order, and then the output. If only some parts are on a GPU, the first
            parts stay in main memory.
        main_weights: Bytes of the weights that stay in main memory in any case, such as the embeddings.
        compute: Bytes for intermediate results on each GPU that has parts, with the defaults for a GPU.
        splits: Whether parts can stay in main memory and be computed there.
        in_order: Whether the engine fills several GPUs one after the other; otherwise in proportion to their free memory.
        experts_option: The load option that sets how many layers, counted from the first, keep their experts in main
            memory; empty if the engine has no such option.
    """

    parts: tuple[ModelPart, ...]
    main_weights: int
    compute: int
    splits: bool = True
    in_order: bool = False
    experts_option: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """The memory that opening a model would take.

    Attributes:
        context: Context window that the model would be opened with, in tokens.
        devices: The memory on each device that would be used.
        layers: Number of layers of the model; None if unknown.
        gpu_layers: Number of layers that would be on a GPU; None if unknown.
        trained_context: Context window that the model was trained for, in tokens; None if unknown.
        parameters: Number of the model's weights; None if unknown.
        layout: How the model can be divided between devices; None if unknown.
    """

    context: int
    devices: tuple[DeviceMemory, ...]
    layers: int | None = None
    gpu_layers: int | None = None
    trained_context: int | None = None
    parameters: int | None = None
    layout: ModelLayout | None = None

    @property
    def weights(self) -> int:
        """Bytes of the weights. With a known layout, weights that are both in main memory and on a GPU count once."""
        if self.layout is None:
            return sum(device.weights for device in self.devices)
        return self.layout.main_weights + sum(part.weights - part.shared for part in self.layout.parts)
