"""The consumer's contract, asynchronous and the same for every backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from paragone.distributions import LogitsBlock
from paragone.errors import EngineError, InputError
from paragone.events import Event, LoadProgress
from paragone.memory import MemoryEstimate
from paragone.messages import DistributionsRequest, OpenRequest, RunRequest, ScoreRequest, TokenizeRequest
from paragone.models import Capabilities, LoadedModel, ModelInfo
from paragone.options import Options
from paragone.tokens import TokenizedText, Vocabulary
from paragone.wire import Json

__all__ = [
    "API_VERSION",
    "Backend",
    "EndpointReport",
    "OnProgress",
    "OpenEngine",
    "Probe",
    "PullProgress",
]

API_VERSION = 2
"""Version of this plugin interface. A backend that was written for another one is refused."""

OnProgress: TypeAlias = Callable[[LoadProgress], None]


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

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Return the tokens of the prompt that messages make, or of a text. Raises EngineError if it cannot."""
        raise EngineError("This engine cannot tell the tokens of a text.")

    def score(self, request: ScoreRequest) -> AsyncGenerator[Event, None]:
        """Compute the log-probabilities of a given text.

        Yields what a run yields: PromptProgress over all tokens to compute, Token events with `logprob`
        and `n_bytes`, and one Finish. It is stopped as a run is. Raises EngineError if it cannot.
        """
        raise EngineError("This engine cannot tell the log-probabilities of a given text.")

    def distributions(self, request: DistributionsRequest) -> AsyncGenerator[LogitsBlock, None]:
        """Compute the logits over the whole vocabulary after tokens of a sequence, a block at a time.

        It is stopped as a run is. Raises InputError where the sequence exceeds the context, and
        EngineError if the engine cannot.
        """
        raise EngineError("This engine cannot tell distributions over its whole vocabulary.")

    async def vocabulary(self) -> Vocabulary:
        """Return the size and the fingerprint of the vocabulary. Raises EngineError if it cannot."""
        raise EngineError("This engine cannot tell its vocabulary.")

    @abstractmethod
    async def close(self) -> None:
        """Free everything the engine holds. Never fails, and may be called twice."""


class Backend(ABC):
    """The adapter of one inference library or protocol."""

    name: ClassVar[str] = ""
    """What configs and command lines call it: a Python identifier."""
    title: ClassVar[str] = ""
    """What people call it."""
    api_version: ClassVar[int] = 1
    """Version of the plugin interface that it was written for: set it to 2."""
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

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        """Return the addresses that an engine with this model and these load options contacts.

        Each is `SCHEME://HOST:PORT` or `HOST:PORT`. Empty for an engine that contacts none.
        """
        del model, options
        return ()

    async def estimate(self, request: OpenRequest) -> MemoryEstimate:
        """Return the memory that opening a model would take, without loading it.

        Raises InputError where the model or an option is at fault, and EngineError if it cannot tell.
        """
        raise EngineError(f"{self.title} cannot estimate the memory that a model needs.")

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
