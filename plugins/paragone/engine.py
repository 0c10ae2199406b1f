"""The interface of a native engine: blocking code that runs in its own worker process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Generic, TypeAlias, TypeVar

from paragone import errors, events, requests
from paragone.options import Options

if TYPE_CHECKING:  # each import would delay the start of a worker by a millisecond
    from paragone.backend import Probe
    from paragone.models import LoadedModel, MemoryEstimate
    from paragone.requests import Embeddings, TokenizedText, Vocabulary

__all__ = ["Cancelled", "Engine", "Report"]

L = TypeVar("L", bound=Options)
S = TypeVar("S", bound=Options)

Report: TypeAlias = Callable[[float], None]
"""Called with the fraction of a model that is loaded, from 0 to 1."""


class Cancelled(ABC):
    """Whether the user has asked the current job to stop.

    A job is one call of `load`, `generate`, `score`, `distributions` or `embed`, and each job has its own object.
    Check the object (`if cancelled:`) between any two steps that take more than a few milliseconds.
    """

    @abstractmethod
    def __bool__(self) -> bool:
        """Return whether the job must stop."""

    @abstractmethod
    def subscribe(self, on_cancel: Callable[[], None]) -> None:
        """Register `on_cancel`, which is called in another thread as soon as the user asks to stop.

        Use this for a library that has an abort function. If the user has already asked to stop, `on_cancel` is
        called immediately, in this thread. The subscription lasts until the job ends; a second subscription replaces
        the first. `on_cancel` may be called more than once and must be harmless after the job's end.
        """


class Engine(ABC, Generic[L, S]):
    """One inference library, used by blocking code on one thread.

    Each instance has its own process, so the instance may print, use memory and crash without affecting the application. An
    instance opens one model, which the end of the process unloads. The module of an engine may import the library at the
    top, because the application never imports engines.

    Attributes:
        load_options: Options that take effect when a model is opened; the same as the backend's.
        sampling: Options that each run can set; the same as the backend's.
    """

    load_options: ClassVar[type[Options]]
    sampling: ClassVar[type[Options]]

    @classmethod
    @abstractmethod
    def probe(cls) -> Probe:
        """Find out whether the library is usable in this interpreter and how it was built."""

    @abstractmethod
    def load(
        self, request: requests.OpenRequest, options: L, report: Report, cancelled: Cancelled
    ) -> LoadedModel:
        """Open the model. Raises InputError if the file or an option is wrong, else EngineError."""

    @abstractmethod
    def generate(
        self, request: requests.RunRequest, sampling: S, cancelled: Cancelled
    ) -> Iterator[events.Event]:
        """Answer a prompt, and yield events, the last of which is a Finish.

        Once `cancelled` is true, stop within 100 ms and yield a Finish with the reason `cancelled`.
        """

    def tokenize(self, request: requests.TokenizeRequest) -> TokenizedText:
        """Return the tokens of a conversation's prompt, or of a text."""
        raise errors.EngineError("This engine cannot tokenize text.")

    def score(self, request: requests.ScoreRequest, cancelled: Cancelled) -> Iterator[events.Event]:
        """Compute the log-probabilities of a given text. Yield PromptProgress, Token events, and one Finish."""
        raise errors.EngineError("This engine cannot compute the log-probabilities of a given text.")

    def distributions(
        self, request: requests.DistributionsRequest, cancelled: Cancelled
    ) -> Iterator[requests.LogitsBlock]:
        """Compute the logits after tokens of a sequence, one block at a time.

        Return early once `cancelled` is true. The worker copies each block before it requests the next
        one, so blocks can share one buffer.
        """
        raise errors.EngineError("This engine cannot compute distributions over its whole vocabulary.")

    def embed(self, request: requests.EmbedRequest, cancelled: Cancelled) -> Embeddings:
        """Return a vector for each text. Raises EngineError soon after `cancelled` is true."""
        raise errors.EngineError("This engine does not compute embeddings.")

    def vocabulary(self) -> Vocabulary:
        """Return the size and the fingerprint of the vocabulary."""
        raise errors.EngineError("This engine cannot list its vocabulary.")

    @classmethod
    def estimate(cls, request: requests.OpenRequest, options: L) -> MemoryEstimate:
        """Return the memory that opening a model would take, without loading it."""
        raise errors.EngineError("This engine cannot estimate the memory that a model needs.")

    def close(self) -> None:
        """Free resources that the end of the process does not free."""
