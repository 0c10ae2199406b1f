"""What is to be loaded, checked before a library is imported, and what goes wrong in loading."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paragone import Cancelled, EngineError, InputError, OpenRequest, ParagoneError, Report
from paragone_exllama.folders import ModelFolder, check_folder
from paragone_exllama.formats import Format
from paragone_exllama.memory import choose_context, free_vram, out_of_vram
from paragone_exllama.options import ExLlamaLoadOptions

__all__ = [
    "Request",
    "check_request",
    "failures_told",
    "is_out_of_memory",
    "prepare_process",
    "stages",
]

_WARMING_UP = 0.05
"""The part of the time of loading that goes to the first computation, roughly."""

_VOCABULARIES = 1024
"""Numbers by which the vocabularies of a model and its draft model may differ: they are padded."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be loaded."""

    model: ModelFolder
    draft: ModelFolder | None
    options: ExLlamaLoadOptions
    context: int
    """Tokens that the cache is to hold."""


def check_request(
    request: OpenRequest, options: ExLlamaLoadOptions, formats: Collection[Format], title: str
) -> Request:
    """Return what is to be loaded, from files and options that can be. Raises InputError."""
    folder = check_folder(Path(request.model).expanduser(), formats, title)
    draft = _draft(folder, options, formats, title)
    if options.chunk_size is not None and options.chunk_size % 256:
        raise InputError(
            f"The option 'chunk_size' cannot be {options.chunk_size}.", hint="It takes a multiple of 256."
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
    folder: ModelFolder, options: ExLlamaLoadOptions, formats: Collection[Format], title: str
) -> ModelFolder | None:
    if options.draft_model is None:
        return None
    if options.draft_ngram:
        raise InputError("Of the options 'draft_model' and 'draft_ngram' only one can be given.")
    draft = check_folder(Path(options.draft_model).expanduser(), formats, title)
    sizes = [one.number("vocab_size") or 0 for one in (folder, draft)]
    if abs(sizes[0] - sizes[1]) > _VOCABULARIES:
        raise InputError(
            f"{draft.name} cannot propose tokens for {folder.name}: its vocabulary is another one "
            f"({sizes[1]:,} tokens and not {sizes[0]:,}).",
            hint="A draft model is a small model of the same family.",
        )
    return draft


class _GivenUp(Exception):
    """The user has asked to stop."""


def prepare_process() -> None:
    """Set up this process for what is about to be imported."""
    # PyTorch compiles with ninja, which is installed beside the interpreter.
    beside = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join(filter(None, (beside, os.environ.get("PATH"))))
    # GPUs are numbered as nvidia-smi numbers them.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def stages(request: Request, report: Report, cancelled: Cancelled) -> tuple[Callable[[int, int], None], ...]:
    """Return the callbacks that tell how far the draft model and the model are, of `i` of `n` modules."""
    draft = request.draft.size if request.draft else 0
    share = (1 - _WARMING_UP) * draft / max(draft + request.model.size, 1)

    def stage(start: float, length: float) -> Callable[[int, int], None]:
        def callback(index: int, count: int) -> None:
            if cancelled:
                raise _GivenUp
            report(start + length * index / max(count, 1))

        return callback

    return stage(0, share), stage(share, 1 - _WARMING_UP - share)


@contextmanager
def failures_told(title: str, request: Request) -> Iterator[None]:
    """Turn what a library raises while it loads into what a person can act on."""
    name = request.model.name
    free = free_vram(request.options.gpu_split)
    try:
        yield
    except (ParagoneError, ImportError):
        raise
    except _GivenUp:
        raise EngineError(f"Loading {name} was given up.") from None
    except MemoryError as error:
        raise EngineError(f"The machine ran out of memory while loading {name}.") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_vram(request.model, request.draft, request.options, request.context, free) from error
        if isinstance(error, RuntimeError):
            raise EngineError(f"{title} could not load {name}: {_said(error)}.") from error
        # Assertions, missing keys and the like: the files are not what the library expects.
        raise InputError(f"{title} cannot load {name}: {_said(error)}.") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the VRAM is full."""
    said = str(error)
    return (
        type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in said
        or "CUBLAS_STATUS_ALLOC_FAILED" in said
        or "Insufficient VRAM" in said
        or "Insufficient space in device allocation" in said
    )


def _said(error: BaseException) -> str:
    lines = str(error).strip(" #!\n").splitlines()
    said = lines[0][:300].rstrip(". ") if lines else ""
    if isinstance(error, KeyError):
        said = f"{said} is missing"
    return said or type(error).__name__
