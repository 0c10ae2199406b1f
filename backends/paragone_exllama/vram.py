"""VRAM: the GPUs as NVML reports them, how much a model takes, and the longest context that fits."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from paragone_exllama.exllama_options import ExllamaCacheType, ExLlamaLoadOptions
from paragone_exllama.library import CHUNK, OUTPUTS, PAGE
from paragone_exllama.model_folder import ModelFolder

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
        handles = [ctypes.c_void_p() for _ in range(count.value)]
        for index, handle in enumerate(handles):
            nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
        return Driver(
            version=_text(nvml.nvmlSystemGetDriverVersion),
            cuda=(cuda.value // 1000, cuda.value % 1000 // 10),
            gpus=tuple(_gpu(nvml, handle) for handle in handles),
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


def _part(uuid: str) -> NvidiaGpu | None:
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


_BITS: dict[ExllamaCacheType, float] = {"fp16": 16, "q8": 8.5, "q6": 6.5, "q4": 4.5}
"""Bits per number in the cache. The quantized types have a 16-bit scale for each 32 numbers."""

RESERVED = 1 << 30
"""Bytes of a GPU reserved for the CUDA context and for computation."""

_SHORTEST = 2048
_UNKNOWN = 8192
"""Largest default context in tokens if the amount of VRAM is unknown."""


def cache_bytes(folder: ModelFolder, cache_type: ExllamaCacheType, tokens: int) -> int:
    """Return the size of a KV cache in bytes; 0 if unknown."""
    return int(folder.cache_numbers * _BITS[cache_type] / 8 * tokens)


def free_vram(split: Sequence[float] = ()) -> tuple[int, ...]:
    """Return the free bytes of each GPU that may be used; empty if the driver does not report free memory."""
    gpus = visible_gpus()
    if not all(gpu.total for gpu in gpus):
        return ()
    limits = [int(limit * 2**30) for limit in split] or [gpu.free for gpu in gpus]
    return tuple(min(gpu.free, limit) for gpu, limit in zip(gpus, limits, strict=False))


def choose_context(model: ModelFolder, draft: ModelFolder | None, options: ExLlamaLoadOptions) -> int:
    """Return the size of the cache in tokens, a multiple of PAGE."""
    trained = model.context or _UNKNOWN
    if options.max_seq_len is not None:
        return _round_up(options.max_seq_len)
    free = free_vram(options.gpu_split)
    each = cache_bytes(model, options.cache_type, 1) + (cache_bytes(draft, "fp16", 1) if draft else 0)
    if not free or not each:
        return _round_up(min(trained, _UNKNOWN))
    left = sum(free) - RESERVED * len(free) - model.size - (draft.size if draft else 0)
    fitting = left // each // PAGE * PAGE
    return min(_round_up(trained), max(fitting, _round_up(min(trained, _SHORTEST))))


def _round_up(tokens: int) -> int:
    return -(-tokens // PAGE) * PAGE


_MOST_DEQUANTIZED = 512 << 20
"""Largest number of weights that ExLlamaV2 converts to 16 bits at once: `max_dq_size` of its config."""

_SLICE = 32768
"""Largest number of columns that ExLlamaV3 converts to 16 bits at once: `MAX_RECONSTRUCT_SLICE_N`."""


def v2_buffers(
    folder: ModelFolder, options: ExLlamaLoadOptions, cache_type: ExllamaCacheType, context: int
) -> int:
    """Return the bytes that ExLlamaV2 allocates on each GPU for one model.

    The bytes include the scratch space (`scratch_space_fixed`: the maximum of attention, MLP and head), the RoPE
    tables, one layer of the cache in 16 bits if the cache is quantized, and the logits. A mixture of experts
    counts as one MLP with the config's `intermediate_size`. Temporary memory of the attention is not included.
    """
    hidden, wide, queries, dimension = _widths(folder)
    chunk = min(options.chunk_size or CHUNK, context)
    vocab = -(-(folder.number("vocab_size") or 0) // 32) * 32

    def dequantized(rows: int, columns: int) -> int:
        return 2 * min(rows * columns, _MOST_DEQUANTIZED)

    mlp = 2 * chunk * hidden + 4 * chunk * max(hidden, wide) + dequantized(hidden, wide) + 3 * 128
    attention = 2 * chunk * max(hidden, queries) + dequantized(hidden, queries) + 128
    scratch = max(mlp, attention, dequantized(hidden, vocab))
    rope = 4 * dimension * context
    unpacked = 0 if cache_type == "fp16" else 4 * context * folder.cache_width
    return scratch + rope + unpacked + 2 * OUTPUTS * vocab


def v3_buffers(folder: ModelFolder, options: ExLlamaLoadOptions, context: int) -> int:
    """Return a lower bound for the bytes that ExLlamaV3 needs at once on each GPU.

    ExLlamaV3 allocates these bytes during computation. The bound is what the MLP or the head takes, whichever
    is more. The MLP takes the hidden state in 32 bits and two intermediate states in 16 bits, for a chunk of the
    prompt; the head takes the logits in 16 bits. With quantized weights, MLP and head also take one matrix in 16 bits each.
    """
    hidden, wide, _, _ = _widths(folder)
    chunk = min(options.chunk_size or CHUNK, context)
    vocab = -(-(folder.number("vocab_size") or 0) // 128) * 128
    quantized = folder.stored.format != "plain"

    def reconstructed(columns: int) -> int:
        return 2 * hidden * min(columns, _SLICE) if quantized else 0

    mlp = chunk * (4 * hidden + 2 * 2 * wide) + reconstructed(wide)
    head = 2 * OUTPUTS * vocab + reconstructed(vocab)
    return max(mlp, head)


def _widths(folder: ModelFolder) -> tuple[int, int, int, int]:
    """Return the widths of hidden state, MLP, queries and one attention head; 0 if unknown."""
    heads = folder.number("num_attention_heads", "n_heads", "n_head") or 0
    dimension = folder.number("head_dim") or (folder.hidden // heads if heads else 0)
    wide = folder.number("intermediate_size", "ffn_dim", "n_inner") or 0
    return folder.hidden, wide, heads * dimension, dimension
