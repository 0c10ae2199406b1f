"""Check a request and estimate its memory before a library is imported, and convert errors during loading."""

from __future__ import annotations

import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import paragone
from paragone.texts import size_text
from paragone_exllama import exllama_options, model_folder, probe

_WARMING_UP = 0.05
"""The approximate fraction of the loading time that the first computation takes."""

_VOCABULARIES = 1024
"""Largest difference in size between the vocabularies of a model and its draft model: either may be padded."""


@dataclass(frozen=True, slots=True)
class Request:
    model: model_folder.ModelFolder
    draft: model_folder.ModelFolder | None
    lora: Path | None
    options: exllama_options.ExLlamaLoadOptions
    context: int = 0
    """Size of the cache in tokens."""

    @property
    def models(self) -> list[tuple[model_folder.ModelFolder, exllama_options.ExllamaCacheType]]:
        """The models with the types of their caches, in the order in which the libraries load them."""
        drafts = [self.draft] if self.draft is not None else []
        return [*((draft, _DRAFT_CACHE) for draft in drafts), (self.model, self.options.cache_type)]


_DRAFT_CACHE: exllama_options.ExllamaCacheType = "fp16"


def check_request(
    request: paragone.OpenRequest,
    options: exllama_options.ExLlamaLoadOptions,
    formats: Collection[model_folder.StorageFormat],
    title: str,
) -> Request:
    """Check the files and options of a request, and return the models to load. Raises InputError."""
    folder = model_folder.check_folder(Path(request.model).expanduser(), formats, title)
    draft = None
    if options.draft_model is not None:
        if options.draft_ngram:
            raise paragone.InputError("Only one of the options 'draft_model' and 'draft_ngram' can be set.")
        draft = model_folder.check_folder(Path(options.draft_model).expanduser(), formats, title)
        sizes = [one.number("vocab_size") or 0 for one in (folder, draft)]
        if abs(sizes[0] - sizes[1]) > _VOCABULARIES:
            raise paragone.InputError(
                f"{draft.name} cannot be the draft model of {folder.name}: its vocabulary is different "
                f"({sizes[1]:,} tokens instead of {sizes[0]:,}).",
                hint="Use a small model of the same family.",
            )
    if options.chunk_size is not None and options.chunk_size % exllama_options.PAGE:
        raise paragone.InputError(
            f"The option 'chunk_size' cannot be {options.chunk_size}.",
            hint=f"The option takes a multiple of {exllama_options.PAGE}.",
        )
    lora = Path(options.lora).expanduser() if options.lora is not None else None
    if lora is not None and not (lora / "adapter_config.json").exists():
        raise paragone.InputError(
            f"There is no LoRA adapter in {options.lora}.", hint="Name a folder with an adapter_config.json."
        )
    wanted = Request(folder, draft, lora, options)
    return replace(wanted, context=_choose_context(wanted))


def weights_of(request: Request) -> tuple[paragone.WeightsFile, ...]:
    """Return the weight files of the model, the draft model and the adapter; empty if a folder is unreadable."""
    folders = (request.model.path, request.draft and request.draft.path, request.lora)
    return paragone.WeightsFile.of_all(
        file for folder in folders if folder for file in sorted(folder.glob("*.safetensors"))
    )


def prepare_process() -> None:
    # PyTorch compiles with ninja, which is in the interpreter's folder.
    beside = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join(filter(None, (beside, os.environ.get("PATH"))))
    # GPUs are numbered as in nvidia-smi.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


ModuleProgress: TypeAlias = Callable[[int, int], None]
"""Called by a library with the number of loaded modules and the number of all modules."""


def progress_callbacks(
    request: Request, report: paragone.Report, cancelled: paragone.Cancelled
) -> tuple[ModuleProgress, ModuleProgress]:
    """Return the callbacks that report the loading progress of the model, and before it of the draft model."""
    draft = request.draft.size if request.draft else 0
    share = (1 - _WARMING_UP) * draft / max(draft + request.model.size, 1)

    def stage(start: float, length: float) -> ModuleProgress:
        def callback(index: int, count: int) -> None:
            if cancelled:
                raise paragone.EngineError(f"Loading {request.model.name} was cancelled.")
            report(start + length * index / max(count, 1))

        return callback

    return stage(share, 1 - _WARMING_UP - share), stage(0, share)


@contextmanager
def translate_failures(title: str, request: Request) -> Iterator[None]:
    """Convert exceptions of a library during loading to errors for the user."""
    name = request.model.name
    free = free_vram(request.options.gpu_split)
    try:
        yield
    except (paragone.ParagoneError, ImportError):
        raise
    except MemoryError as error:
        raise paragone.EngineError(f"The machine ran out of memory while loading {name}.") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise _out_of_vram(request, free) from error
        if isinstance(error, RuntimeError):
            raise paragone.EngineError(f"{title} could not load {name}: {_message(error)}.") from error
        # Assertions, missing keys and similar errors: the files are not in the expected format.
        raise paragone.InputError(f"{title} cannot load {name}: {_message(error)}.") from error


def _out_of_vram(request: Request, free: Sequence[int]) -> paragone.EngineError:
    """Return the error for a model that did not fit. `free`: the free bytes of each GPU before loading."""
    model, draft = request.model, request.draft
    cache = cache_bytes(model, request.options.cache_type, request.context)
    drafts = draft.size + cache_bytes(draft, _DRAFT_CACHE, request.context) if draft else 0
    parts = [
        f"{size_text(model.size)} for its weights",
        f"{size_text(cache)} for a KV cache of {request.context:,} tokens",
    ]
    if drafts:
        parts.append(f"{size_text(drafts)} for the draft model")
    needed = model.size + cache + drafts + RESERVED
    there = " and ".join(size_text(bytes_) for bytes_ in free)
    found = f", and {there} {'was' if len(free) == 1 else 'were'} free" if free else ""
    return paragone.EngineError(
        f"{model.name} does not fit in the VRAM: it needs about {size_text(needed)} ({', '.join(parts)}, and "
        f"{size_text(RESERVED)} for computation){found}.",
        hint="Lower max_seq_len, set cache_type to q8, q6 or q4, or use a model with fewer bits per weight.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    signs = (
        "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "Insufficient VRAM", "Insufficient space in device allocation",
    )  # fmt: skip
    return type(error).__name__ == "OutOfMemoryError" or any(sign in str(error) for sign in signs)


def _message(error: BaseException) -> str:
    lines = str(error).strip(" #!\n").splitlines()
    text = lines[0][:300].rstrip(". ") if lines else ""
    if isinstance(error, KeyError):
        text = f"{text} is missing"
    return text or type(error).__name__


_LAYER = re.compile(r"(?:^|\.)(?:layers|blocks|h)\.(\d+)\.")
_EMBEDDINGS = frozenset({"embed_tokens", "wte"})
"""Names of the token embedding table, which both libraries keep in CPU memory."""


def estimate(request: Request) -> paragone.MemoryEstimate:
    """Return an estimate of the memory of each device.

    - Weights: all tensors in the safetensors headers, even those that the libraries do not load, such as a vision
      tower's. 32-bit tensors are converted to 16 bits. The embeddings are in CPU memory; a model without a separate
      `lm_head` has a copy of them in GPU memory.
    - KV cache: of the whole context. Sliding windows, linear and latent attention in ExLlamaV3 take less.
    - Compute: see `_buffers`. A LoRA adapter, the CUDA context of each GPU (some hundred MB) and fragmentation are
      not included.
    - GPUs: filled one after the other, layer by layer, as in the libraries, which reserve some memory. The last GPU
      gets all layers that do not fit. Without a driver, one GPU of unknown size is assumed.
    """
    options, context = request.options, request.context
    buffers = [_buffers(folder, options, context) for folder, _ in request.models]
    # ExLlamaV2 keeps buffers for each model; ExLlamaV3 frees its buffers after each module.
    compute = sum(buffers) if isinstance(options, exllama_options.ExLlamaV2LoadOptions) else max(buffers)
    sizes = [_parts(folder, kind, context) for folder, kind in request.models]
    embeddings, parts = sum(size for size, _ in sizes), [part for _, parts in sizes for part in parts]
    none = paragone.DeviceMemory(device="GPU", weights=0, kv_cache=0, compute=compute)
    gpus = [
        (room, replace(none, device=gpu.name, free=gpu.free if gpu.total else None, total=gpu.total or None))
        for room, gpu in _gpus(options.gpu_split)
    ]
    found = [*_filled(gpus or [(None, none)], parts)]
    if embeddings:
        found.append(paragone.DeviceMemory(device="CPU", weights=embeddings, kv_cache=0, compute=0))
    layers, count = request.model.layers, 0
    if request.model.format == "plain":  # quantized weights are packed
        count = sum(math.prod(tensor.shape) for tensor in request.model.tensors.values())
    return paragone.MemoryEstimate(
        context=context,
        devices=tuple(found),
        layers=layers,
        gpu_layers=layers,
        trained_context=request.model.context,
        parameters=count or None,
        layout=paragone.ModelLayout(
            parts=tuple(parts), main_weights=embeddings, compute=compute, splits=False, in_order=True
        ),
    )


def _parts(
    folder: model_folder.ModelFolder, cache_type: exllama_options.ExllamaCacheType, context: int
) -> tuple[int, list[paragone.ModelPart]]:
    """Return the bytes of a model's embeddings, and its layers and the rest."""
    embeddings = rest = 0
    weights: Counter[int] = Counter()
    head = False
    for name, tensor in folder.tensors.items():
        size = tensor.size // 2 if tensor.dtype == "F32" else tensor.size
        names = name.split(".")
        head = head or "lm_head" in names
        if found := _LAYER.search(name):
            weights[int(found[1])] += size
        elif _EMBEDDINGS.intersection(names):
            embeddings += size
        else:
            rest += size
    layers = folder.layers or 0
    cache = cache_bytes(folder, cache_type, context) // layers if layers else 0
    parts = [
        paragone.ModelPart(weights=weights[layer], kv_cache=cache if layer < layers else 0)
        for layer in sorted({*range(layers), *weights})
    ]
    shared = 0 if head else embeddings  # a copy of the embeddings
    return embeddings, [*parts, paragone.ModelPart(weights=rest + shared, shared=shared)]


def _gpus(split: Sequence[float]) -> list[tuple[int | None, probe.NvidiaGpu]]:
    """Return the GPUs that may be used, each as a pair of its usable bytes and the GPU; None if unknown."""
    gpus = probe.visible_gpus()
    if not split:
        return [(gpu.free if gpu.total else None, gpu) for gpu in gpus]
    limits = [int(limit * 2**30) for limit in split]
    return [
        (min(gpu.free, limit) if gpu.total else limit, gpu) for gpu, limit in zip(gpus, limits, strict=False)
    ]


def _filled(
    gpus: Iterable[tuple[int | None, paragone.DeviceMemory]], parts: Iterable[paragone.ModelPart]
) -> Iterator[paragone.DeviceMemory]:
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


_BITS: dict[exllama_options.ExllamaCacheType, float] = {"fp16": 16, "q8": 8.5, "q6": 6.5, "q4": 4.5}
"""Bits per number in the cache. The quantized types have a 16-bit scale for each 32 numbers."""

RESERVED = 1 << 30
"""Bytes of a GPU reserved for the CUDA context and for computation."""

_SHORTEST = 2048
_UNKNOWN = 8192
"""Largest default context in tokens if the amount of VRAM is unknown."""


def cache_bytes(
    folder: model_folder.ModelFolder, cache_type: exllama_options.ExllamaCacheType, tokens: int
) -> int:
    """Return the size of a KV cache in bytes; 0 if unknown."""
    return int(folder.cache_numbers * _BITS[cache_type] / 8 * tokens)


def free_vram(split: Sequence[float]) -> tuple[int, ...]:
    """Return the free bytes of each GPU that may be used; empty if the driver does not report free memory."""
    gpus = _gpus(split)
    return tuple(room or 0 for room, _ in gpus) if all(gpu.total for _, gpu in gpus) else ()


def _choose_context(request: Request) -> int:
    """Return the size of the cache in tokens, a multiple of PAGE."""
    trained = request.model.context or _UNKNOWN
    if request.options.max_seq_len is not None:
        return _round_up(request.options.max_seq_len)
    free = free_vram(request.options.gpu_split)
    each = sum(cache_bytes(folder, kind, 1) for folder, kind in request.models)
    if not free or not each:
        return _round_up(min(trained, _UNKNOWN))
    left = sum(free) - RESERVED * len(free) - sum(folder.size for folder, _ in request.models)
    fitting = left // each // exllama_options.PAGE * exllama_options.PAGE
    return min(_round_up(trained), max(fitting, _round_up(min(trained, _SHORTEST))))


def _round_up(tokens: int) -> int:
    return -(-tokens // exllama_options.PAGE) * exllama_options.PAGE


_SLICE = 32768
"""Largest number of a matrix's columns converted to 16 bits at once: ExLlamaV3's `MAX_RECONSTRUCT_SLICE_N`."""


def _buffers(
    folder: model_folder.ModelFolder, options: exllama_options.ExLlamaLoadOptions, context: int
) -> int:
    """Return a lower bound for the bytes that a computation needs on each GPU: the bytes of the MLP or of the head,
    whichever is more. The MLP takes the hidden state in 32 bits and two intermediate states in 16 bits, for a chunk
    of the prompt; the head takes the logits in 16 bits. With quantized weights, MLP and head also take one matrix in
    16 bits each."""
    wide = folder.number("intermediate_size", "ffn_dim", "n_inner") or 0
    chunk = min(options.chunk_size or exllama_options.CHUNK, context)
    vocab = -(-(folder.number("vocab_size") or 0) // 128) * 128
    matrix = 0 if folder.format == "plain" else 2 * folder.hidden
    mlp = chunk * 4 * (folder.hidden + wide) + matrix * min(wide, _SLICE)
    return max(mlp, 2 * exllama_options.OUTPUTS * vocab + matrix * min(vocab, _SLICE))
