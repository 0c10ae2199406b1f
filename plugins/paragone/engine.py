"""The native engine's contract: ordinary blocking code, run in a worker process of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Generic, TypeAlias, TypeVar

from paragone.backend import Probe
from paragone.errors import EngineError
from paragone.events import Event, Token
from paragone.messages import Message, OpenRequest, RunRequest, ScoreRequest
from paragone.models import LoadedModel
from paragone.options import Options

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
        """Have `on_cancel` called, from another thread, the moment the user asks. At most one at a time."""


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

    def count(self, messages: Sequence[Message]) -> int:
        """Return the length in tokens of the prompt that these messages make, where the engine can."""
        raise EngineError("This engine cannot count tokens.")

    def score(self, request: ScoreRequest) -> Sequence[Token]:
        """Return the tokens of a given text with their log-probabilities, where the engine can."""
        raise EngineError("This engine cannot tell the log-probabilities of a given text.")

    def close(self) -> None:
        """Free what the end of the process does not."""
