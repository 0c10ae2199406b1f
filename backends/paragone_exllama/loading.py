"""Check a request before a library is imported, and convert errors during loading."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paragone import Cancelled, EngineError, InputError, OpenRequest, ParagoneError, Report, WeightsFile
from paragone.wording import size_text
from paragone_exllama.exllama_options import ExLlamaLoadOptions
from paragone_exllama.gpu.memory import RESERVED, cache_bytes, choose_context, free_vram
from paragone_exllama.model_folder.folders import ModelFolder, check_folder
from paragone_exllama.model_folder.formats import StorageFormat

_WARMING_UP = 0.05
"""The approximate fraction of the loading time that the first computation takes."""

_VOCABULARIES = 1024
"""Largest difference in size between the vocabularies of a model and its draft model: either may be padded."""


@dataclass(frozen=True, slots=True)
class Request:
    """The model and the draft model to load, and their options."""

    model: ModelFolder
    draft: ModelFolder | None
    options: ExLlamaLoadOptions
    context: int
    """Size of the cache in tokens."""


def check_request(
    request: OpenRequest, options: ExLlamaLoadOptions, formats: Collection[StorageFormat], title: str
) -> Request:
    """Check the files and options of a request, and return what to load. Raises InputError."""
    folder = check_folder(Path(request.model).expanduser(), formats, title)
    draft = _draft(folder, options, formats, title)
    if options.chunk_size is not None and options.chunk_size % 256:
        raise InputError(
            f"The option 'chunk_size' cannot be {options.chunk_size}.",
            hint="The option takes a multiple of 256.",
        )
    if (
        options.lora is not None
        and not Path(options.lora).expanduser().joinpath("adapter_config.json").exists()
    ):
        raise InputError(
            f"There is no LoRA adapter in {options.lora}.",
            hint="Name a folder with an adapter_config.json.",
        )
    return Request(folder, draft, options, choose_context(folder, draft, options))


def _draft(
    folder: ModelFolder, options: ExLlamaLoadOptions, formats: Collection[StorageFormat], title: str
) -> ModelFolder | None:
    if options.draft_model is None:
        return None
    if options.draft_ngram:
        raise InputError("Only one of the options 'draft_model' and 'draft_ngram' can be set.")
    draft = check_folder(Path(options.draft_model).expanduser(), formats, title)
    sizes = [one.number("vocab_size") or 0 for one in (folder, draft)]
    if abs(sizes[0] - sizes[1]) > _VOCABULARIES:
        raise InputError(
            f"{draft.name} cannot be the draft model of {folder.name}: its vocabulary is different "
            f"({sizes[1]:,} tokens instead of {sizes[0]:,}).",
            hint="Use a small model of the same family.",
        )
    return draft


def weights_of(request: Request) -> tuple[WeightsFile, ...]:
    """Return the weight files of the model, the draft model and the adapter; empty if a folder is unreadable."""
    folders = [request.model.path]
    if request.draft is not None:
        folders.append(request.draft.path)
    if request.options.lora is not None:
        folders.append(Path(request.options.lora).expanduser())
    try:
        return tuple(
            WeightsFile.of(file) for folder in folders for file in sorted(folder.glob("*.safetensors"))
        )
    except OSError:  # the library will report why the folder is unreadable
        return ()


class _CancelledError(Exception):
    """The user cancelled loading."""


def prepare_process() -> None:
    """Prepare this process for the import of PyTorch and the library."""
    # PyTorch compiles with ninja, which is in the interpreter's folder.
    beside = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join(filter(None, (beside, os.environ.get("PATH"))))
    # GPUs are numbered as in nvidia-smi.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def stages(request: Request, report: Report, cancelled: Cancelled) -> tuple[Callable[[int, int], None], ...]:
    """Return the callbacks that report the loading progress of the draft model and of the model."""
    draft = request.draft.size if request.draft else 0
    share = (1 - _WARMING_UP) * draft / max(draft + request.model.size, 1)

    def stage(start: float, length: float) -> Callable[[int, int], None]:
        def callback(index: int, count: int) -> None:
            if cancelled:
                raise _CancelledError
            report(start + length * index / max(count, 1))

        return callback

    return stage(0, share), stage(share, 1 - _WARMING_UP - share)


@contextmanager
def translate_failures(title: str, request: Request) -> Iterator[None]:
    """Convert exceptions of a library during loading to errors for the user."""
    name = request.model.name
    free = free_vram(request.options.gpu_split)
    try:
        yield
    except (ParagoneError, ImportError):
        raise
    except _CancelledError:
        raise EngineError(f"Loading {name} was cancelled.") from None
    except MemoryError as error:
        raise EngineError(f"The machine ran out of memory while loading {name}.") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise _out_of_vram(request, free) from error
        if isinstance(error, RuntimeError):
            raise EngineError(f"{title} could not load {name}: {_message(error)}.") from error
        # Assertions, missing keys and similar errors: the files are not in the expected format.
        raise InputError(f"{title} cannot load {name}: {_message(error)}.") from error


def _out_of_vram(request: Request, free: Sequence[int]) -> EngineError:
    """Return the error for a model that did not fit. `free`: the free bytes of each GPU before loading."""
    model, draft = request.model, request.draft
    cache = cache_bytes(model, request.options.cache_type, request.context)
    drafts = draft.size + cache_bytes(draft, "fp16", request.context) if draft else 0
    parts = [
        f"{size_text(model.size)} for its weights",
        f"{size_text(cache)} for a KV cache of {request.context:,} tokens",
    ]
    if drafts:
        parts.append(f"{size_text(drafts)} for the draft model")
    needed = model.size + cache + drafts + RESERVED
    there = " and ".join(size_text(bytes_) for bytes_ in free)
    found = f", and {there} {'was' if len(free) == 1 else 'were'} free" if free else ""
    return EngineError(
        f"{model.name} does not fit in the VRAM: it needs about {size_text(needed)} ({', '.join(parts)}, and "
        f"{size_text(RESERVED)} for computation){found}.",
        hint="Lower max_seq_len, set cache_type to q8, q6 or q4, or use a model with fewer bits per weight.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the VRAM is full."""
    text = str(error)
    return (
        type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in text
        or "CUBLAS_STATUS_ALLOC_FAILED" in text
        or "Insufficient VRAM" in text
        or "Insufficient space in device allocation" in text
    )


def _message(error: BaseException) -> str:
    lines = str(error).strip(" #!\n").splitlines()
    text = lines[0][:300].rstrip(". ") if lines else ""
    if isinstance(error, KeyError):
        text = f"{text} is missing"
    return text or type(error).__name__
