"""Estimate the memory that opening a model takes, from the headers of its files and its config.json.

The sizes follow the sources of ExLlamaV2 0.3.2 and ExLlamaV3 1.6.5. This module imports neither library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from paragone import DeviceMemory, MemoryEstimate, ModelLayout, ModelPart
from paragone_exllama.exllama_options import ExllamaCacheType, ExLlamaV2LoadOptions
from paragone_exllama.gpu.memory import cache_bytes, v2_buffers, v3_buffers
from paragone_exllama.gpu.nvidia import visible_gpus
from paragone_exllama.loading import Request
from paragone_exllama.model_folder.folders import ModelFolder

_LAYER = re.compile(r"(?:^|\.)(?:layers|blocks|h)\.(\d+)\.")
_EMBEDDINGS = frozenset({"embed_tokens", "wte"})
"""Names of the token embedding table, which both libraries keep in CPU memory."""


def estimate(request: Request) -> MemoryEstimate:
    """Return an estimate of the memory of each device.

    - Weights: the sizes of the tensors in the safetensors headers. 32-bit tensors count as 16-bit tensors,
      because the libraries convert them. The embeddings are in CPU memory; a model without a separate
      `lm_head` has a copy of the embeddings in GPU memory. All tensors of the folder count, including tensors
      that the libraries do not load, such as a vision tower's.
    - KV cache: layers × KV heads × head dimension × 2 × bits of the cache type, for the whole context. This
      formula overestimates layers with a sliding window, linear attention or latent attention in ExLlamaV3.
    - Compute: see `v2_buffers` and `v3_buffers`. A LoRA adapter, the CUDA context of each GPU (some hundred
      MB) and fragmentation are not included.
    - GPUs: filled one after the other, layer by layer. The libraries fill GPUs in this way too, but
      reserve some memory. The last GPU gets all layers that do not fit. Without a driver, one GPU of unknown
      size is assumed.
    """
    options, context = request.options, request.context
    v2 = isinstance(options, ExLlamaV2LoadOptions)
    models: list[tuple[ModelFolder, ExllamaCacheType]] = [(request.model, options.cache_type)]
    if request.draft is not None:
        models.insert(0, (request.draft, "fp16"))  # the libraries load the draft model first
    if v2:  # ExLlamaV2 keeps buffers for each model
        compute = sum(v2_buffers(folder, options, kind, context) for folder, kind in models)
    else:  # ExLlamaV3 frees its buffers after each module
        compute = max(v3_buffers(folder, options, context) for folder, _ in models)
    parts = [part for folder, kind in models for part in _parts(folder, kind, context)]
    found = [*_filled(_gpus(options.gpu_split, compute), parts)]
    embeddings = sum(_sizes(folder).embeddings for folder, _ in models)
    if embeddings:
        found.append(DeviceMemory(device="CPU", weights=embeddings, kv_cache=0, compute=0))
    layers = request.model.layers
    return MemoryEstimate(
        context=context,
        devices=tuple(found),
        layers=layers,
        gpu_layers=layers,
        trained_context=request.model.context,
        parameters=_parameters(request.model),
        layout=ModelLayout(
            parts=tuple(parts), main_weights=embeddings, compute=compute, splits=False, in_order=True
        ),
    )


class _Sizes(NamedTuple):
    """Sizes of a model's weights in bytes, by part."""

    embeddings: int
    layers: dict[int, int]
    rest: int
    shared: int
    """Bytes of the copy of the embeddings that `rest` includes; 0 if the model has a separate `lm_head`."""


def _sizes(folder: ModelFolder) -> _Sizes:
    embeddings = rest = 0
    layers: dict[int, int] = {}
    head = False
    for name, tensor in folder.tensors.items():
        size = tensor.size // 2 if tensor.dtype == "F32" else tensor.size
        names = name.split(".")
        head = head or "lm_head" in names
        if found := _LAYER.search(name):
            layers[int(found[1])] = layers.get(int(found[1]), 0) + size
        elif _EMBEDDINGS.intersection(names):
            embeddings += size
        else:
            rest += size
    shared = 0 if head else embeddings
    return _Sizes(embeddings, layers, rest + shared, shared)


def _parameters(folder: ModelFolder) -> int | None:
    """Return the number of a model's weights; None if the weights are quantized, and thus packed."""
    if folder.stored.format != "plain":
        return None
    return sum(math.prod(tensor.shape) for tensor in folder.tensors.values()) or None


def _parts(folder: ModelFolder, cache_type: ExllamaCacheType, context: int) -> Iterator[ModelPart]:
    """Yield a part for each layer, with its weights and its cache, and a part for the weights after the layers."""
    sizes, layers = _sizes(folder), folder.layers or 0
    cache = cache_bytes(folder, cache_type, context) // layers if layers else 0
    for layer in sorted({*range(layers), *sizes.layers}):
        yield ModelPart(weights=sizes.layers.get(layer, 0), kv_cache=cache if layer < layers else 0)
    yield ModelPart(weights=sizes.rest, shared=sizes.shared)


def _gpus(split: Sequence[float], compute: int) -> list[tuple[int | None, DeviceMemory]]:
    """Return the GPUs that may be used, each with the bytes of its memory that the model may use; None if unknown.

    If no GPU is known, returns one GPU of unknown size.
    """
    gpus = visible_gpus()
    found = []
    for at, gpu in enumerate(gpus[: len(split)] if split else gpus):
        # The driver reports no memory for a GPU that shares the machine's memory.
        room = free = gpu.free if gpu.total else None
        if split:
            limit = int(split[at] * 2**30)
            room = limit if free is None else min(free, limit)
        found.append((room, _empty(gpu.name, compute, free=free, total=gpu.total or None)))
    return found or [(None, _empty("GPU", compute))]


def _empty(name: str, compute: int, *, free: int | None = None, total: int | None = None) -> DeviceMemory:
    return DeviceMemory(device=name, weights=0, kv_cache=0, compute=compute, free=free, total=total)


def _filled(
    gpus: Iterable[tuple[int | None, DeviceMemory]], parts: Iterable[ModelPart]
) -> Iterator[DeviceMemory]:
    """Assign the parts in order, filling one GPU after the other, and yield the GPUs that have got parts."""
    waiting = iter(gpus)
    room, gpu = next(waiting)
    for part in parts:
        while room is not None and gpu.needed + part.weights + part.kv_cache > room:
            following = next(waiting, None)
            if following is None:
                break
            if gpu.weights or gpu.kv_cache:
                yield gpu
            room, gpu = following
        gpu = replace(gpu, weights=gpu.weights + part.weights, kv_cache=gpu.kv_cache + part.kv_cache)
    yield gpu
