"""The consumer's contract, asynchronous and the same for every backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from paragone.errors import EngineError, InputError
from paragone.events import Event, LoadProgress, Token
from paragone.messages import Message, OpenRequest, RunRequest, ScoreRequest
from paragone.models import LoadedModel, ModelInfo
from paragone.options import Options
from paragone.wire import Json

__all__ = ["Backend", "Capabilities", "EndpointReport", "OnProgress", "OpenEngine", "Probe", "PullProgress"]

OnProgress: TypeAlias = Callable[[LoadProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do. What it cannot, it says here; nothing is faked."""

    logprobs: bool = False
    """Tokens come with log-probabilities when a run asks for them."""
    score: bool = False
    """The log-probabilities of a given text can be had."""
    count: bool = False
    """The tokens of a prompt can be counted without running it."""
    local: bool = False
    """It computes on this machine, so that lanes running at once must share it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Whether a backend is usable here."""

    usable: bool
    reason: str = ""
    """Why it is not, in a sentence."""
    remedy: str = ""
    """What to do about it, in a sentence or a command."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What was found: versions, devices, build flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """What was found where a backend's models are served."""

    address: str
    """Scheme, host and port; empty where the options do not say."""
    probe: Probe
    """Whether it can be used, else why not; in its facts the server's name and version and what is loaded."""
    models: tuple[ModelInfo, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far a server is with downloading a model."""

    status: str
    """What it is doing, in its own words."""
    done: int = 0
    """Bytes downloaded."""
    total: int | None = None
    """Bytes in all, as far as the server knows them yet."""


class OpenEngine(ABC):
    """A model that is open. One run at a time; the consumer sees to that."""

    loaded: LoadedModel

    @abstractmethod
    def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        """Answer a prompt.

        Yields PromptProgress, Token and Caution events as they come and one Finish at the end.
        Closing the generator, or cancelling the task that awaits it, stops the engine; `stop`
        does so too and lets the run come to its Finish. Raises InputError, ContextOverflow,
        EngineError or EngineCrashed; what was yielded before stays valid.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Ask the present run to end early: its Finish then says `cancelled`. Without a run, nothing."""

    async def count(self, messages: Sequence[Message]) -> int:
        """Return the length in tokens of the prompt that these messages make, where the backend can."""
        raise EngineError("This engine cannot count tokens.")

    async def score(self, request: ScoreRequest) -> tuple[Token, ...]:
        """Return the tokens of a given text with their log-probabilities, where the backend can."""
        raise EngineError("This engine cannot tell the log-probabilities of a given text.")

    @abstractmethod
    async def close(self) -> None:
        """Free everything the engine holds. Never fails, and may be called twice."""


class Backend(ABC):
    """The adapter of one inference library or protocol."""

    name: ClassVar[str] = ""
    """What configs and command lines call it: a Python identifier."""
    title: ClassVar[str] = ""
    """What people call it."""
    load_options: type[Options] = Options
    """Options that take effect when a model is opened."""
    sampling: type[Options] = Options
    """Options that each run may set anew. No name stands in both."""
    capabilities: Capabilities = Capabilities()

    @abstractmethod
    async def probe(self, python: str | None = None) -> Probe:
        """Find out whether it is usable here, with the given interpreter. Never raises."""

    @abstractmethod
    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the models that it could open: those in the given folders, or at its endpoints."""

    def check(self, model: str, options: Mapping[str, Json]) -> None:
        """Look at what an engine is set to, short of looking at files, servers and the environment.

        `options` are for `load_options`, each of its own right kind. Raises InputError where they
        cannot work together, or one of them cannot be what it is meant for.
        """
        del model, options  # most backends have no more to say than their options' kinds

    @abstractmethod
    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        """Open a model, telling of the progress. Cancelling the task gives up and frees everything.

        Raises InputError where the model or an option is at fault, EngineError or EngineCrashed
        where the engine is.
        """

    async def demo(self, cache: str) -> Sequence[ModelInfo]:
        """Return models to show the program with, made in the folder `cache` where they must be made.

        The first is the best. Empty where there are none.
        """
        del cache  # most backends have none
        return ()

    async def endpoint(self, options: Mapping[str, Json]) -> EndpointReport | None:
        """Tell of the server that these load options name. None where the backend has no servers. Never raises."""
        del options
        return None

    def pull(self, model: str, options: Mapping[str, Json]) -> AsyncGenerator[PullProgress, None]:
        """Have the server that these load options name download a model, telling how far it is.

        Closing the generator, or cancelling the task that awaits it, gives up; the server may keep
        what it has for the next try. Raises InputError and EngineError.
        """
        raise InputError(f"{self.title} cannot download models.")
