"""The common interface to ExLlamaV2 and ExLlamaV3: an open model, and the folder of the compiled CUDA extension."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from paragone_exllama.exllama_options import ExLlamaSampling

PAGE = 256
"""Number of tokens in a page of the KV cache, in both libraries."""

CHUNK = 2048
"""Default for the largest number of prompt tokens processed at once."""

OUTPUTS = PAGE
"""Largest number of positions whose logits one computation returns.

The libraries allocate VRAM for these logits permanently.
"""

Logits: TypeAlias = Any
"""A tensor with one or more rows, with one number per token of the vocabulary."""

Chunks: TypeAlias = Generator[Logits, None, None]
"""A generator that yields the logits of several positions at a time."""


class GeneratorJob(Protocol):
    cached_pages: int
    cached_tokens: int
    accepted_draft_tokens: int
    rejected_draft_tokens: int
    kept: list[Logits] | None
    """The model's logits for the generated tokens, before any sampler; None if no logits were requested."""


class Library(ABC):
    """An open model, which one thread uses and which runs one job at a time."""

    capacity: int
    """Most tokens that a prompt and its answer may have together: the size of the cache."""
    vocab_size: int
    """Number of tokens of the vocabulary; the model's head may be padded to more."""
    trained: int | None
    largest_chunk: int
    """Largest number of prompt tokens processed at once."""
    drafts: bool
    facts: Mapping[str, str]
    generator: Any
    tokenizer: Any
    page: int = PAGE
    """Number of tokens in a page of the generator's cache."""
    wait: Callable[[], object]
    """Waits until the GPU has finished all queued work."""

    @abstractmethod
    def _make_generator(self) -> Any:
        pass

    @abstractmethod
    def _make_job(
        self, tokens: Sequence[int], sampling: ExLlamaSampling, *, limit: int, ends: list[int]
    ) -> GeneratorJob:
        pass

    def start(
        self,
        tokens: Sequence[int],
        sampling: ExLlamaSampling,
        *,
        limit: int,
        ends: Collection[int],
        logits: bool,
    ) -> GeneratorJob:
        """Add a prompt to the generator. The answer ends after `limit` tokens or at one of the tokens `ends`."""
        job = self._make_job(tokens, sampling, limit=limit, ends=sorted(ends))
        job.kept = [] if logits else None
        self.generator.enqueue(job)
        return job

    def iterate(self) -> list[dict[str, Any]]:
        """Compute the next chunk of the prompt or the next tokens. The generator's `iterate` documents the results."""
        results: list[dict[str, Any]] = self.generator.iterate()
        return results

    def cached(self, job: GeneratorJob) -> int:
        return job.cached_pages * self.page + job.cached_tokens

    @abstractmethod
    def forward(self, tokens: Sequence[int], chunk: int) -> Chunks:
        """Yield the logits after each of these tokens, one row per token, `chunk` tokens at a time.

        The computation begins with an empty cache: the contents of the cache are lost. `chunk` is at most OUTPUTS.
        """

    def tokenize(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, encode_special_tokens=True)[0].tolist())

    def forget(self) -> None:
        """Discard the contents of the cache, by default with the generator."""
        self.rebuild()

    def rebuild(self) -> None:
        self.generator = self._make_generator()


_CHECK_INTERVAL = 0.2
"""Seconds between two checks for running compilers."""


def extension_folder(library: str, cuda: str) -> Path:
    root = os.environ.get("TORCH_EXTENSIONS_DIR")
    if root is None:  # the same default as in torch.utils.cpp_extension
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        tag = f"py{sys.version_info.major}{sys.version_info.minor}{sys.abiflags}_cu{cuda.replace('.', '')}"
        root = str(Path(cache, "torch_extensions", tag))
    return Path(root, f"{library}_ext")


def release_lock(folder: Path) -> None:
    """Delete the lock of an extension's folder if the process that created the lock is gone.

    Waits for compilers that the killed process has left running.
    """
    folder = folder.resolve()
    lock = folder / "lock"
    if not lock.exists() or _is_used("fd/*", lock):
        return
    while _is_used("cwd", folder):
        time.sleep(_CHECK_INTERVAL)
    lock.unlink(missing_ok=True)


def _is_used(links: str, path: Path) -> bool:
    for link in glob.iglob(f"/proc/[0-9]*/{links}"):  # noqa: PTH207 (which raises if a process ends meanwhile)
        with contextlib.suppress(OSError):  # the process belongs to another user, or has ended
            if os.readlink(link) == str(path):  # noqa: PTH115
                return True
    return False
