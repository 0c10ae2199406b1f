"""The interface that the application uses: asynchronous, and the same for every backend."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from paragone import errors, events, requests, wire
from paragone.models import Capabilities, LoadedModel, MemoryEstimate, ModelInfo
from paragone.options import Options, address_option

API_VERSION = 2
"""Version of this plugin interface. paragone refuses a backend for another version."""

OnProgress: TypeAlias = Callable[[events.LoadProgress], None]
"""Called with the progress of opening a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Whether a backend is usable on this machine.

    Attributes:
        usable: Whether the backend is usable.
        reason: A message on why the backend is not usable.
        remedy: How to make the backend usable: a message or a command.
        facts: What the probe found: versions, devices, build flags.
    """

    usable: bool
    reason: str = ""
    remedy: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """A description of a backend's server.

    Attributes:
        address: Scheme, host and port; empty if the options do not name a server.
        probe: Whether the server can be used. The probe's facts are the server's name, its version and the loaded models.
        models: The models that the server offers.
        pulls: Whether the server downloads models on request, with `Backend.pull`.
    """

    address: str
    probe: Probe
    models: tuple[ModelInfo, ...] = ()
    pulls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """Progress of a server that downloads a model.

    Attributes:
        status: What the server is doing, in its own words.
        done: Bytes downloaded.
        total: Bytes in total; None while the total is unknown.
    """

    status: str
    done: int = 0
    total: int | None = None


class OpenEngine(ABC):
    """An open model. The application gives an engine one job at a time (a run, a score …).

    Attributes:
        loaded: The model and the active settings.
    """

    loaded: LoadedModel

    @abstractmethod
    def run(self, request: requests.RunRequest) -> AsyncGenerator[events.Event, None]:
        """Answer a prompt.

        Yields Queued, RunSettings, PromptProgress, Token and Caution events, and one Finish at the end. Closing the
        generator, or cancelling the task that awaits it, stops the engine without a Finish. After `stop`, the run still
        yields its Finish. Raises InputError if the request is wrong, ContextOverflow if the prompt exceeds the context,
        EngineError or EngineCrashed if the engine fails. The events before an error stay valid.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Ask the current job to end early, with a Finish whose reason is `cancelled`.

        Does nothing without a job.
        """

    async def tokenize(self, request: requests.TokenizeRequest) -> requests.TokenizedText:
        """Return the tokens of a conversation's prompt, or of a text.

        Raises EngineError if the engine cannot tokenize.
        """
        raise errors.EngineError("This engine cannot tokenize text.")

    def score(self, request: requests.ScoreRequest) -> AsyncGenerator[events.Event, None]:
        """Compute the log-probabilities of a given text.

        Yields PromptProgress over all tokens to compute, Token events with `logprob` and `n_bytes`, and
        one Finish. `stop` ends a score as it ends a run. Raises ContextOverflow if prompt and text exceed the
        context, and EngineError if the engine cannot score.
        """
        raise errors.EngineError("This engine cannot compute the log-probabilities of a given text.")

    def distributions(
        self, request: requests.DistributionsRequest
    ) -> AsyncGenerator[requests.LogitsBlock, None]:
        """Compute the logits over the whole vocabulary after tokens of a sequence, one block at a time.

        `stop` ends the sequence of blocks early. Raises InputError if the sequence exceeds the context or has a
        token that is not in the vocabulary, and EngineError if the engine cannot compute distributions.
        """
        raise errors.EngineError("This engine cannot compute distributions over its whole vocabulary.")

    def top_tokens(
        self, request: requests.TopTokensRequest
    ) -> AsyncGenerator[tuple[events.Alternative, ...], None]:
        """Report the most likely next tokens after tokens of a sequence, most likely first, with their ids. Only engines
        that cannot compute distributions need this method. After `stop`, the generator ends early. Raises InputError if
        the sequence exceeds the context, and EngineError if the engine cannot report most likely tokens."""
        raise errors.EngineError(
            "This engine cannot report the most likely tokens at the positions of a sequence."
        )

    async def embed(self, request: requests.EmbedRequest) -> requests.Embeddings:
        """Return a vector for each text.

        Cancelling the awaiting task, or `stop`, ends the computation. Raises ContextOverflow if a text exceeds the
        context, and EngineError after `stop` or if the engine does not compute embeddings.
        """
        raise errors.EngineError("This engine does not compute embeddings.")

    async def vocabulary(self) -> requests.Vocabulary:
        """Return the size and the fingerprint of the vocabulary. Raises EngineError if the engine cannot list its tokens."""
        raise errors.EngineError("This engine cannot list its vocabulary.")

    async def ended(self) -> errors.ParagoneError:
        """Wait until the engine ends by itself, and return why: usually an EngineCrashed.

        The application awaits `ended` while the engine is open, to notice an end between two jobs. By default,
        `ended` waits forever, because an engine without its own process does not end by itself.
        """
        import asyncio  # not at the top: workers, which need only `Probe`, would take a fifth longer to start

        never: asyncio.Future[errors.ParagoneError] = asyncio.get_running_loop().create_future()
        return await never

    @abstractmethod
    async def close(self) -> events.Caution | None:
        """Free everything the engine holds. Never raises; may be called more than once.

        Returns a caution if the server keeps the model in memory: because another program had loaded the model, or
        because the server did not unload the model in time. None if the memory is free, or another open engine of this
        program uses the model.
        """


class Backend(ABC):
    """The adapter of one inference library or protocol.

    Attributes:
        name: Its name in configuration files and on the command line: a Python identifier.
        title: Its display name.
        api_version: Version of the plugin interface that the backend was written for. Set this attribute to 2.
        load_options: Options that take effect when a model is opened.
        sampling: Options that each run can set. No name is in both `load_options` and `sampling`.
        capabilities: What the backend's engines can do, unless `LoadedModel.capabilities` is set.
        quantizations: Usual quantizations of its models by name, with the average bits per weight of a whole
            model. This average times `MemoryEstimate.parameters` is the approximate size of a model in bits.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    api_version: ClassVar[int] = 1
    load_options: type[Options] = Options
    sampling: type[Options] = Options
    capabilities: Capabilities = Capabilities()
    quantizations: ClassVar[Mapping[str, float]] = {}

    @abstractmethod
    async def probe(self, python: str | None = None) -> Probe:
        """Find out whether the backend is usable on this machine with the given interpreter. Never raises."""

    @abstractmethod
    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the models that the backend can open: in the given folders, or at its endpoints."""

    def model_folders(self) -> Sequence[str]:
        """Return folders in which this backend's models usually are, such as the cache of a program that downloads models.

        The application passes these folders to `models`, besides the folders of the user's settings. The folders need
        not exist. This method may block: the application calls it in a thread.
        """
        return ()

    def check(self, model: str, options: Mapping[str, wire.Json]) -> None:
        """Check an engine's load options without reading files, servers or the environment.

        The caller has checked the type and the bounds of each value. Raises InputError if values
        exclude each other, or if a value has the wrong form, such as an address that is not a URL.
        """
        return  # most backends need no further checks

    @abstractmethod
    async def open(self, request: requests.OpenRequest, on_progress: OnProgress) -> OpenEngine:
        """Open a model and report the progress. Cancelling the task frees everything.

        Raises InputError if the model or an option is wrong, EngineError or EngineCrashed if the engine fails.
        """

    def reaches(self, model: str, options: Mapping[str, wire.Json]) -> tuple[str, ...]:
        """Return the addresses that an engine with this model and these load options contacts.

        Each address has the form `SCHEME://HOST:PORT` or `HOST:PORT`, without a path and without credentials, because
        addresses are shown. By default the address in the load option that is marked with `address=True`; empty for a
        backend without such an option. If `reaches("", {})` returns an address, the backend has a server of its own on this
        machine, whose models `paragone engines models` lists.
        """
        info = address_option(self.load_options)
        if info is None:
            return ()
        from urllib.parse import urlsplit  # not for workers, which import this module for `Probe`

        with contextlib.suppress(ValueError):  # opening the engine reports a wrong address
            url = urlsplit(str(options.get(info.name, info.default) or ""))
            port = url.port or {"http": 80, "https": 443}.get(url.scheme)
            if url.hostname and port:
                host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
                return (f"{url.scheme}://{host}:{port}",)
        return ()

    def sharing(self, model: str, options: Mapping[str, wire.Json]) -> int:
        """Return how many engines with this model and these load options can share one loaded model; 1 for no sharing.

        These engines answer concurrently. The application opens several such engines to execute many runs.
        """
        return 1

    async def estimate(self, request: requests.OpenRequest) -> MemoryEstimate:
        """Return the memory that opening a model would take, without loading it.

        Raises InputError if the model or an option is wrong, and EngineError if the backend cannot estimate memory.
        """
        raise errors.EngineError(f"{self.title} cannot estimate the memory that a model needs.")

    async def demo(self, cache: str, *, create: bool = True) -> Sequence[ModelInfo]:
        """Return models for the demo, the best model first; an empty list if the backend has no demo.

        A backend that has to create a model keeps it in the folder `cache`. Without `create`, nothing is
        written, and only models that exist are returned. Raises InputError if something must be installed.
        """
        return ()

    async def endpoint(self, options: Mapping[str, wire.Json]) -> EndpointReport | None:
        """Describe the server that these load options name; None for a backend without servers.

        Never raises.
        """
        return None

    def pull(self, model: str, options: Mapping[str, wire.Json]) -> AsyncGenerator[PullProgress, None]:
        """Tell the server that these load options name to download a model, and yield its progress.

        Closing the generator, or cancelling the task that awaits it, ends the download if the server can end it. The
        server may keep what it has downloaded. Raises InputError if the server downloads no models, and EngineError if
        the download fails.
        """
        raise errors.InputError(
            f"{self.title} cannot download models.",
            hint="Ollama can, for example: paragone engines pull ollama:MODEL",
        )
