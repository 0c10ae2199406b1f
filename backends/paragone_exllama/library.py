"""What the engine asks of ExLlamaV2 and of ExLlamaV3 alike: one model that is open, and its generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from paragone_exllama.options import ExLlamaSampling

__all__ = ["CHUNK", "Chunks", "OUTPUTS", "PAGE", "Job", "Library", "Logits"]

PAGE = 256
"""Tokens of a page of the KV cache, in both libraries."""

CHUNK = 2048
"""Prompt tokens that are processed at once, at most, unless an option says otherwise."""

OUTPUTS = PAGE
"""Positions whose logits are had from one computation: VRAM for them is set aside for good."""

Logits: TypeAlias = Any
"""A tensor with a number for each token of the vocabulary, in one row or in several."""

Chunks: TypeAlias = Generator[Logits, None, None]
"""Logits of several positions at a time."""


class Job(Protocol):
    """One prompt in the generator."""

    accepted_draft_tokens: int
    rejected_draft_tokens: int
    kept: list[Logits] | None
    """The model's logits for the tokens that have come, before any sampler; None where nobody asked for them."""


class Library(ABC):
    """An open model. All of it is called from one thread, and one job is under way at a time."""

    capacity: int
    """Tokens that the cache holds of a prompt and its answer."""
    vocab_size: int
    """Tokens that the model computes logits for; the head may be padded to more."""
    trained: int | None
    """The context window that the model was trained for."""
    largest_chunk: int
    """Prompt tokens that may be processed at once."""
    drafts: bool
    """Whether tokens are proposed before the model computes them."""
    facts: Mapping[str, str]
    """How the model was opened, for people."""

    @abstractmethod
    def start(
        self,
        tokens: Sequence[int],
        sampling: ExLlamaSampling,
        *,
        limit: int,
        ends: Collection[int],
        logits: bool,
    ) -> Job:
        """Give the generator a prompt to answer with at most `limit` tokens, or until one of `ends`."""

    @abstractmethod
    def iterate(self) -> Sequence[Mapping[str, Any]]:
        """Compute the next part of the prompt or the next token, and return what came of it.

        The results have the shapes that the generator's `iterate` documents.
        """

    @abstractmethod
    def cancel(self, job: Job) -> None:
        """Take a job out of the generator, if it is still there."""

    def logits(self, job: Job, count: int) -> Sequence[Logits]:
        """Return the model's logits for the next `count` tokens, before any sampler."""
        kept = job.kept or []
        rows = kept[:count]
        del kept[:count]
        return rows

    @abstractmethod
    def cached(self, job: Job) -> int:
        """Return how many of the prompt's tokens were in the cache already."""

    @abstractmethod
    def forward(self, tokens: Sequence[int], chunk: int) -> Chunks:
        """Yield the logits after each of these tokens, a row for each, `chunk` tokens at a time.

        The tokens are computed from an empty cache, and what it held is lost. `chunk` is at most OUTPUTS.
        """

    @abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text; special tokens written out in it count as such."""

    @abstractmethod
    def token_id(self, text: str) -> int | None:
        """Return the token that stands for exactly this text."""

    @abstractmethod
    def pieces(self, *, special: bool) -> Sequence[str]:
        """Return the text of every token; with `special`, that of special tokens too."""

    @abstractmethod
    def set_chunk(self, tokens: int) -> None:
        """Have at most so many prompt tokens processed at once, a multiple of PAGE."""

    @abstractmethod
    def wait(self) -> None:
        """Wait until the GPU has done all that it was told."""

    @abstractmethod
    def forget(self) -> None:
        """Use nothing of what the cache holds again."""

    @abstractmethod
    def rebuild(self) -> None:
        """Make the generator anew, after a failure in it."""
