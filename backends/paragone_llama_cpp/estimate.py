"""Estimate the memory that opening a model takes, from llama.cpp's own plan.

llama.cpp can plan the memory of a model without loading its weights. The plan is read from llama.cpp's log,
because `llama_get_memory_breakdown` has no C interface. llama.cpp's `common/fit.cpp` uses the same plan.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from paragone import DeviceMemory, MemoryEstimate, ModelLayout, ModelPart, OpenRequest
from paragone.gguf import parts, read_tensors
from paragone_llama_cpp import c_api, library, llama_cpp_options
from paragone_llama_cpp import model as models

_CPU = "CPU"
_MIB = 1 << 20

_LAYER = re.compile(r"layer +(\d+): dev = (\S+)")
_CACHE = re.compile(r"size = +([\d.]+) MiB \( *\d+ cells")
_BUFFER = re.compile(r"(\S+) (?:compute|output) buffer size = +([\d.]+) MiB")
_ASSIGNED = re.compile(r"layer +(\d+) assigned to device ([^\s,]+)")
_BLOCK = re.compile(r"blk\.(\d+)\.")


def estimate(request: OpenRequest, options: llama_cpp_options.LlamaCppLoadOptions) -> MemoryEstimate:
    """Return the memory that opening a model takes. Raises the same errors as opening the model."""
    model = models.open_model(request, options, lambda fraction: None, False, weights=False)
    places = _places(library.log_lines())
    context, compute, kv_cache, kv_by_layer = _plan(model, model.options)
    tensors = {
        name: _bytes(shape, kind)
        for part in parts(model.path)
        for name, shape, kind in read_tensors(str(part))
    }
    adapter = models.lora_file(options)
    lora = 0 if adapter is None else adapter.stat().st_size
    if set(places.values()) <= {_CPU}:
        weights = Counter({_CPU: int(c_api.lib.llama_model_size(model.pointer))})
    else:
        weights = weights_by_device(tensors, places, cpu_moe=options.n_cpu_moe)
    weights[_CPU] += lora
    layers: int = c_api.lib.llama_model_n_layer(model.pointer)
    on_gpus = [size for device, size in compute.items() if device != _CPU]
    if not on_gpus:  # the CPU's buffers for the same computations approximate a GPU's
        _, on_cpu, _, _ = _plan(model, models.with_defaults(options, on_gpu=True))
        on_gpus = list(on_cpu.values())
    free = {device.name: (device.free, device.total) for device in library.devices()}
    devices = []
    for name in dict.fromkeys([_CPU, *weights, *kv_cache, *compute]):
        left, total = free.get(name, (None, None))
        device = DeviceMemory(
            device=name,
            weights=weights[name],
            kv_cache=kv_cache[name],
            compute=compute[name],
            free=models.available() if name == _CPU else left,
            total=total,
        )
        devices.append(device)
    found = MemoryEstimate(
        context=context,
        devices=tuple(devices),
        layers=layers,
        gpu_layers=sum(place != _CPU for at, place in places.items() if at < layers),
        trained_context=c_api.lib.llama_model_n_ctx_train(model.pointer),
        parameters=c_api.lib.llama_model_n_params(model.pointer),
        layout=layout(tensors, kv_by_layer, layers, extra=lora, compute=max(on_gpus, default=0)),
    )
    c_api.lib.llama_model_free(model.pointer)
    return found


def read_plan(
    lines: Iterable[str], devices: Sequence[str]
) -> tuple[Counter[str], Counter[str], Counter[int]]:
    """Return the bytes of a context from llama.cpp's log lines: compute buffers and KV cache by device, KV cache by layer."""
    compute: Counter[str] = Counter()
    kv_cache: Counter[str] = Counter()
    kv_by_layer: Counter[int] = Counter()
    layers: list[tuple[int, str]] = []
    buffers: dict[str, int] = {}
    for line in lines:
        if layer := _LAYER.search(line):
            layers.append((int(layer[1]), layer[2]))
        elif cache := _CACHE.search(line):
            size = float(cache[1]) * _MIB
            for device, count in Counter(device for _, device in layers or [(0, _CPU)]).items():
                kv_cache[device] += round(size * count / max(1, len(layers)))
            for at, _ in layers:
                kv_by_layer[at] += round(size / len(layers))
            layers = []
        elif buffer := _BUFFER.search(line):
            # The last plan replaces earlier plans, which may have failed.
            buffers[line.split(" buffer size")[0]] = round(float(buffer[2]) * _MIB)
    for name, size in buffers.items():
        # `CUDA0` is a device, and `RPC0[HOST:PORT]` is on `RPC0`; `CUDA_Host` and `CPU_REPACK` are main memory.
        owner = name.split()[-2].partition("[")[0]
        compute[owner if owner in devices else _CPU] += size
    return compute, kv_cache, kv_by_layer


def weights_by_device(
    tensors: Mapping[str, int], places: Mapping[int, str], *, cpu_moe: int = 0
) -> Counter[str]:
    """Return the bytes of the weights by device.

    `tensors` are names and sizes, `places` maps layers to devices, and `cpu_moe` is the number of first layers whose
    experts are in main memory. llama.cpp keeps the token embeddings in main memory, and gives the output layer the highest
    number. If a model has no separate output weights, llama.cpp copies the embeddings to the device of the output layer.
    """
    found: Counter[str] = Counter({_CPU: 0})
    last = max(places, default=0)
    output = places.get(last, _CPU)
    for name, size in tensors.items():
        block = _BLOCK.match(name)
        if block:
            stays = int(block[1]) < cpu_moe and models.is_expert(name)
            found[_CPU if stays else places.get(int(block[1]), _CPU)] += size
        else:
            found[output if name.startswith("output") else _CPU] += size
    if "output.weight" not in tensors and output != _CPU:
        found[output] += tensors.get("token_embd.weight", 0)
    return found


def layout(
    tensors: Mapping[str, int], kv_by_layer: Mapping[int, int], layers: int, *, extra: int, compute: int
) -> ModelLayout:
    """Return how the model can be divided, from the names and sizes of its tensors. `extra` are further bytes in main
    memory, `compute` are bytes for intermediate results on a GPU."""
    each = weights_by_device(tensors, {at: str(at) for at in range(layers + 1)})
    tied = 0 if "output.weight" in tensors else tensors.get("token_embd.weight", 0)
    experts: Counter[int] = Counter()
    for name, size in tensors.items():
        if models.is_expert(name) and (block := _BLOCK.match(name)):
            experts[int(block[1])] += size
    blocks = [
        ModelPart(weights=each[str(at)], kv_cache=kv_by_layer.get(at, 0), experts=experts[at])
        for at in range(layers)
    ]
    output = ModelPart(weights=each[str(layers)], shared=tied)
    return ModelLayout(
        parts=(*blocks, output),
        main_weights=each[_CPU] + extra,
        compute=compute,
        experts_option="n_cpu_moe" if experts else "",
    )


def _plan(
    model: models.OpenModel, options: llama_cpp_options.LlamaCppLoadOptions
) -> tuple[int, Counter[str], Counter[str], Counter[int]]:
    """Return the size in tokens of a context with these options, and the result of `read_plan` for it."""
    pointer, _ = models.make_context(
        model.pointer, options, n_ctx=model.n_ctx, threads=model.threads, owner=model.path.name
    )
    found = read_plan(library.log_lines(), [device.name for device in library.devices()])
    context: int = c_api.lib.llama_n_ctx(pointer)
    c_api.lib.llama_free(pointer)
    return context, *found


def _places(lines: Iterable[str]) -> dict[int, str]:
    return {int(found[1]): found[2] for line in lines if (found := _ASSIGNED.search(line))}


def _bytes(shape: Sequence[int], kind: int) -> int:
    row: int = c_api.lib.ggml_row_size(kind, c_api.Int64(shape[0] if shape else 1))
    for length in shape[1:]:
        row *= length
    return row
