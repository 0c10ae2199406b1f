"""The native engine's contract: ordinary blocking code, run in a worker process of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Generic, TypeAlias, TypeVar

from paragone.backend import Probe
from paragone.distributions import LogitsBlock
from paragone.errors import EngineError
from paragone.events import Event
from paragone.memory import MemoryEstimate
from paragone.messages import DistributionsRequest, OpenRequest, RunRequest, ScoreRequest, TokenizeRequest
from paragone.models import LoadedModel
from paragone.options import Options
from paragone.tokens import TokenizedText, Vocabulary

__all__ = ["Cancelled", "Engine", "Report"]

L = TypeVar("L", bound=Options)
S = TypeVar("S", bound=Options)

Report: TypeAlias = Callable[[float], None]
"""Told how much of a model is loaded, from 0 to 1."""


class Cancelled(ABC):
    """Whether the user has asked the present work to stop.

    Ask it between any two steps that take more than a few milliseconds. Libraries with an abort
    callback in C can be pointed at `subscribe`.
    """

    @abstractmethod
    def __bool__(self) -> bool:
        """Whether to stop."""

    @abstractmethod
    def subscribe(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called, from another thread, the moment the user asks.

        It lasts until the present job ends. A second call replaces the first.
        """


class Engine(ABC, Generic[L, S]):
    """One inference library, driven by blocking code on one thread.

    An instance lives in its own process: it may print, take memory and crash as it likes. It opens
    one model in its life; ending the process is how the model is unloaded. The module that
    defines it may import the library at its top; the application never imports that module.
    """

    load_options: ClassVar[type[Options]]
    sampling: ClassVar[type[Options]]

    @classmethod
    @abstractmethod
    def probe(cls) -> Probe:
        """Find out whether the library is usable in this interpreter, and what it was built with."""

    @abstractmethod
    def load(self, request: OpenRequest, options: L, report: Report, cancelled: Cancelled) -> LoadedModel:
        """Open the model. Raises InputError where the file or an option is at fault, EngineError otherwise."""

    @abstractmethod
    def generate(self, request: RunRequest, sampling: S, cancelled: Cancelled) -> Iterator[Event]:
        """Answer a prompt, yielding events; the last is a Finish.

        Once `cancelled` holds, stop within 100 ms and yield a Finish that says so.
        """

    def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Return the tokens of the prompt that messages make, or of a text."""
        raise EngineError("This engine cannot tell the tokens of a text.")

    def score(self, request: ScoreRequest, cancelled: Cancelled) -> Iterator[Event]:
        """Compute the log-probabilities of a given text: PromptProgress, Token events, and one Finish."""
        raise EngineError("This engine cannot tell the log-probabilities of a given text.")

    def distributions(self, request: DistributionsRequest, cancelled: Cancelled) -> Iterator[LogitsBlock]:
        """Compute the logits after tokens of a sequence, a block at a time; return early once `cancelled` holds.

        The worker copies each block before it asks for the next one.
        """
        raise EngineError("This engine cannot tell distributions over its whole vocabulary.")

    def vocabulary(self) -> Vocabulary:
        """Return the size and the fingerprint of the vocabulary."""
        raise EngineError("This engine cannot tell its vocabulary.")

    @classmethod
    def estimate(cls, request: OpenRequest, options: L) -> MemoryEstimate:
        """Return the memory that opening a model would take, without loading it."""
        raise EngineError("This engine cannot estimate the memory that a model needs.")

    def close(self) -> None:
        """Free what the end of the process does not."""
