"""The base class of engines at servers: timeouts, retries before the first token, stop and close, and the models that
they keep loaded."""

import asyncio
import contextlib
import dataclasses
import json
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Generic, TypeVar

import paragone
from paragone.json_values import JsonObject, objects_at
from paragone_remote import answers, faults, transport
from paragone_remote.endpoint import Endpoint
from paragone_remote.options import MOST_MODELS, plain

Identity = Mapping[str, str]
"""The properties that identify a server and its model, as far as the server reports them, with their values."""


def caution_about(endpoint: Endpoint, before: Identity, now: Identity) -> paragone.Caution | None:
    """Return a caution if a property that is known both `before` and `now` has changed."""
    changes = [
        f"its {name} was {value} and is {now[name]}"
        for name, value in before.items()
        if name in now and now[name] != value
    ]
    if not changes:
        return None
    message = (
        f"{endpoint.where} has changed since this engine was opened: "
        f"{endpoint.quote(', '.join(changes))}. Open the engine again before you compare this answer."
    )
    return paragone.Caution(code="server-changed", sentence=message)


class ModelLoader(ABC):
    """Loads and unloads models at one server. The methods raise ParagoneError if the server fails."""

    downloads: ClassVar[bool] = False

    def __init__(self, http: transport.EndpointClient) -> None:
        self.http = http
        self.endpoint = http.endpoint

    async def _listed(self, path: str, name: str) -> list[JsonObject]:
        return objects_at(await faults.ask(self.http, path), name)[:MOST_MODELS]

    async def _post(
        self, path: str, body: JsonObject | None, model: str, *, seconds: float | None = None
    ) -> None:
        reply = self.http.post(f"{self.endpoint.root}{path}", json=body)
        await faults.await_reply(self.endpoint, reply, model=model, seconds=seconds)

    @abstractmethod
    async def loaded(self) -> frozenset[str]:
        """Return all names of the models that are in memory or are being loaded."""

    @abstractmethod
    async def load(self, model: str, on_progress: paragone.OnProgress) -> None:
        """Load a model unless it is loaded, and return once the model can answer."""

    @abstractmethod
    async def unload(self, model: str) -> None:
        """Tell the server to unload a loaded model. The server may free the memory later."""


UNLOAD_PATIENCE = 12.0
"""Seconds to wait until a server has unloaded a model. llama-server's router kills the model's process after 10 seconds."""

_POLL_S = 0.1
"""Seconds between two requests for the loaded models: servers do not report when they have unloaded a model."""


@dataclass(eq=False)
class _Use:
    holds: int = 0
    is_ours: bool = False
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


_uses: dict[tuple[asyncio.AbstractEventLoop, str, str], _Use] = {}


class ModelHold:
    """One engine's use of a model. `keeps_loaded`: the server keeps the model after the engine is closed."""

    def __init__(self, loader: ModelLoader, model: str, *, keeps_loaded: bool = False) -> None:
        self._loader = loader
        self._model = model
        self._keeps_loaded = keeps_loaded
        self._key = asyncio.get_running_loop(), loader.endpoint.url, model

    @contextlib.asynccontextmanager
    async def taken(self, on_progress: paragone.OnProgress) -> AsyncIterator[tuple[paragone.Caution, ...]]:
        """Load the model, and yield cautions. The model stays loaded until `release`, or until the block fails."""
        use = _uses.setdefault(self._key, _Use())
        use.holds += 1
        try:
            async with use.changing:
                cautions = await self._load(use, on_progress)
            yield cautions
        except BaseException:
            await self.release()
            raise

    async def release(self) -> paragone.Caution | None:
        """End this use. The end of the last use unloads a model that this program loaded. Returns a caution if the
        model stays in memory."""
        use = _uses[self._key]
        use.holds -= 1
        if use.holds > 0:
            return None
        async with use.changing:
            if use.holds > 0:  # meanwhile another engine has opened the model
                return None
            caution = None if self._keeps_loaded else await self._unload(use)
            if use.holds == 0:
                _uses.pop(self._key, None)
        return caution

    async def _load(self, use: _Use, on_progress: paragone.OnProgress) -> tuple[paragone.Caution, ...]:
        before = await self._loader.loaded()
        # A model that was not loaded before counts as loaded by this program, so that a failed or cancelled load is undone.
        use.is_ours = use.is_ours or self._model not in before
        await self._loader.load(self._model, on_progress)
        after = await self._loader.loaded()
        if self._model not in after:
            use.is_ours = False  # the server lists the model under another name, so it is unknown which program loaded it
        gone = ", ".join(sorted(plain(name) for name in before - after - {self._model}))
        if not gone:
            return ()
        message = (
            f"To load {plain(self._model)}, the server at {self._loader.endpoint.origin} has unloaded {gone}. "
            "The next request for an unloaded model loads that model again."
        )
        return (paragone.Caution(code="others-unloaded", sentence=message),)

    async def _unload(self, use: _Use) -> paragone.Caution | None:
        name, at = plain(self._model), f"the server at {self._loader.endpoint.origin}"
        try:
            stays = await transport.Wait().within(UNLOAD_PATIENCE, self._stays(use))
        except transport.ReplyTimeout:
            reason = f" within {UNLOAD_PATIENCE:g} seconds."
        except paragone.ParagoneError as error:
            reason = f". {error.message}"
        else:
            if not stays:
                return None
            message = f"{name} stays loaded on {at}, because it was loaded before."
            return paragone.Caution(code="stays-loaded", sentence=message)
        return paragone.Caution(
            code="not-unloaded", sentence=f"{at[0].upper()}{at[1:]} did not unload {name}{reason}"
        )

    async def _stays(self, use: _Use) -> bool:
        """Unload the model if this program loaded it, and wait until it is unloaded. Return whether the model stays loaded."""
        if self._model not in await self._loader.loaded():
            return False
        if not use.is_ours:
            return True
        await self._loader.unload(self._model)
        while self._model in await self._loader.loaded():  # noqa: ASYNC110 (servers send no notifications)
            await asyncio.sleep(_POLL_S)
        use.is_ours = False
        return False


S = TypeVar("S", bound=paragone.Options)
T = TypeVar("T")

_TRIES = 3

_CHECK_PATIENCE = 2.0
"""Seconds to wait for the prompt, and for the server's description of itself, at the end of a run."""

_UNREAD = "The image may be the reason: check that the model supports images, and use PNG or JPEG."


@dataclass(eq=False, kw_only=True)
class RemoteEngine(paragone.OpenEngine, Generic[S]):
    http: transport.EndpointClient
    model: str
    loaded: paragone.LoadedModel
    identity: Identity
    hold: ModelHold | None = None
    """The hold that keeps the model loaded, if the server loads models on demand. The engine releases the hold."""

    _now = staticmethod(time.monotonic)
    _sleep = staticmethod(asyncio.sleep)

    def __post_init__(self) -> None:
        self._endpoint = self.http.endpoint
        self._renew_alarm()
        self._wait: transport.Wait | None = None
        self._named = self._fingerprint = ""
        """The model's name in the current answer, with its fingerprint or build; empty if the answer has none."""

    @abstractmethod
    def _options(self, given: JsonObject) -> S:
        """Return the sampling options with these values. Raises InputError."""

    @abstractmethod
    def _answer(self, request: paragone.RunRequest, sampling: S) -> AsyncGenerator[paragone.Event, None]:
        """Send the request once and yield its events, the last of which is a Finish. Raises exceptions in `FAULTS`."""

    @abstractmethod
    def _with_seed(self, sampling: S, drawn_seed: int | None) -> S:
        """Return the options with a seed, drawn or `drawn_seed`, if the server would draw one without reporting it."""

    @abstractmethod
    def _settings(self, request: paragone.RunRequest, sampling: S) -> paragone.RunSettings:
        """Return the settings of an accepted run, as far as known without another request."""

    @abstractmethod
    def _ask_prompt(self, request: paragone.RunRequest, sampling: S) -> answers.AskPrompt | None:
        """Return a function that requests the rendered prompt; None if the server renders no prompts on request."""

    async def _count(self, request: paragone.RunRequest, sampling: S) -> int | None:
        """Return a prompt's number of tokens; None if unknown. Raises ParagoneError or the exceptions in `FAULTS`."""
        del request, sampling
        return None

    async def _context(self) -> int | None:
        return self.loaded.context

    @abstractmethod
    async def _identify(self) -> Identity:
        """Return the identity of the server and its model now. Raises ParagoneError or the exceptions in `FAULTS`."""

    async def _explained(self, error: Exception, *, begun: bool) -> paragone.ParagoneError:
        return faults.explain(
            error, self._endpoint, model=self.model, context=self.loaded.context, begun=begun
        )

    @abstractmethod
    async def _embeddings(self, request: paragone.EmbedRequest) -> paragone.Embeddings:
        """Return a vector for each text. Raises ParagoneError or the exceptions in `FAULTS`."""

    def _unable(self, what: str) -> paragone.EngineError:
        """Return the error for a feature that the server lacks."""
        return paragone.EngineError(f"{self._endpoint.where} {what}")

    async def embed(self, request: paragone.EmbedRequest) -> paragone.Embeddings:
        self._require_open()
        if self.loaded.capabilities is None or not self.loaded.capabilities.embeddings:
            raise self._unable("does not compute embeddings.")
        async with self._waiting() as wait:
            try:
                return await wait.within(self._endpoint.options.load_timeout, self._embeddings(request))
            except transport.Stopped as stopped:
                raise paragone.EngineError("The computation of embeddings was stopped.") from stopped

    @contextlib.asynccontextmanager
    async def _waiting(self) -> AsyncIterator[transport.Wait]:
        """Yield a job's waits, which `stop` ends. Convert the failures in the block to errors for the user."""
        self._wait = transport.Wait()
        try:
            yield self._wait
        except faults.FAULTS as error:
            raise await self._explained(error, begun=False) from error
        finally:
            self._wait = None

    async def run(self, request: paragone.RunRequest) -> AsyncGenerator[paragone.Event, None]:
        """Answer a prompt. Before the first token, repeats the request if the server is busy, restarting or loading."""
        sampling = self._with_seed(self._options(request.sampling), request.drawn_seed)
        self._require_open()
        if answers.has_images(request.messages) and self.loaded.vision is None:
            message = f"{self._endpoint.where} does not report whether {self.loaded.name} sees images."
            yield paragone.Caution(code="may-not-see", sentence=message)
        options = self._endpoint.options
        wait = self._wait = transport.Wait()
        thinking = answers.InlineThinking()
        ask_prompt = None if request.bare else self._ask_prompt(request, sampling)
        settings: paragone.RunSettings | None = None
        begun = waited = is_reported = False
        tries = 0
        until = self._now() + options.load_timeout
        self._named = self._fingerprint = ""
        try:
            while True:
                async with contextlib.aclosing(self._answer(request, sampling)) as events:
                    try:
                        while True:
                            patience = options.idle_timeout if begun else options.load_timeout
                            event = await wait.within(patience, anext(events, None))
                            if event is None:
                                raise faults.IncompleteAnswer
                            begun = begun or isinstance(event, paragone.Token)
                            if not (is_reported or isinstance(event, paragone.Caution | paragone.Queued)):
                                settings = settings or self._settings_in_answer(request, sampling)
                                # An earlier request for the prompt would delay the first token: by 7 ms on
                                # llama-server, by 60 ms on Ollama.
                                if is_reported := ask_prompt is None or isinstance(event, paragone.Finish):
                                    yield await self._with_prompt(settings, ask_prompt)
                            for settled in thinking.take(event):
                                if isinstance(settled, paragone.Finish) and not request.bare:
                                    checks = self._final_cautions(request, sampling, settled, thinking.answer)
                                    for caution in await checks:
                                        yield caution
                                yield settled
                            if isinstance(event, paragone.Finish):
                                return
                    except faults.FAULTS as error:
                        if wait.stopped:  # the engine was closed during the run
                            raise transport.Stopped from error
                        failure = await self._explained(error, begun=begun)
                        loading = isinstance(failure, faults.TemporaryFailure) and failure.is_loading
                        tries += not loading
                        again = self._now() < until if loading else tries < _TRIES
                        if begun or not isinstance(failure, faults.TemporaryFailure) or not again:
                            unread = isinstance(error, transport.Refusal) and not begun
                            if unread and answers.has_images(request.messages):
                                failure.hint = f"{_UNREAD} {failure.hint}".rstrip()
                            raise failure from error
                if not (loading and waited):
                    message = f"{failure.message} The request is repeated."
                    yield paragone.Caution(code="retried", sentence=message)
                waited = waited or loading
                pause = min(failure.pause, until - self._now()) if loading else failure.pause
                await wait.within(None, self._sleep(pause))
        except (transport.Stopped, paragone.ParagoneError) as end:
            if settings is not None and not is_reported:
                yield settings
            for held in thinking.flush():
                yield held
            if not isinstance(end, transport.Stopped):
                raise
            yield paragone.Finish(reason="cancelled", time=time.monotonic())
        finally:
            self._wait = None

    def _settings_in_answer(self, request: paragone.RunRequest, sampling: S) -> paragone.RunSettings:
        named = self._endpoint.quote(f"{self._named} {self._fingerprint}")
        return dataclasses.replace(self._settings(request, sampling), answered_by=named or None)

    async def _with_prompt(
        self, settings: paragone.RunSettings, ask: answers.AskPrompt | None
    ) -> paragone.RunSettings:
        """Return the settings with the rendered prompt, if the server renders it in time."""
        prompt = None if ask is None else await self._try(ask())
        if prompt is None:
            return settings
        text = settings.prompt if prompt.text is None else prompt.text
        return dataclasses.replace(settings, prompt=text, prompt_ids=prompt.ids or None)

    async def _final_cautions(
        self, request: paragone.RunRequest, sampling: S, finish: paragone.Finish, answer: str | None
    ) -> list[paragone.Caution]:
        """Return cautions at the end of an answer: earlier requests would delay the first token."""
        now = await self._try(self._identify()) or {}
        named = {"name for the model in answers": self._named} if self._named else {}
        changed = caution_about(self._endpoint, self.identity, {**now, **named})
        self.identity = {**named, **self.identity}
        if changed is not None:
            self._renew_alarm()  # the counts of another tokenizer are not comparable
            return [changed]
        if request.sampling.get("json_schema") and finish.reason == "stop" and not _may_be_json(answer):
            message = f"{self._endpoint.where} ignored json_schema: the answer is not JSON."
            return [paragone.Caution(code="schema-ignored", sentence=message)]
        self._alarm.context = await self._try(self._context())
        messages = request.messages
        if not messages and request.text:
            messages = (paragone.Message(role="user", text=request.text),)
        read = finish.usage.prompt_tokens
        sent_tokens = len(request.ids) or None
        if read and answers.may_be_truncated(messages, read):
            sent_tokens = await self._try(self._count(request, sampling))
        written = finish.usage.completion_tokens
        # in a thread: a conversation of a megabyte takes a third of a second
        check = partial(self._alarm.check, messages, read, written, answer=answer, sent_tokens=sent_tokens)
        cut = await asyncio.to_thread(check)
        return [cut] if cut is not None else []

    async def _try(self, request: Awaitable[T]) -> T | None:
        assert self._wait is not None
        with contextlib.suppress(*faults.FAULTS, transport.Stopped, paragone.ParagoneError):
            return await self._wait.within(_CHECK_PATIENCE, request)
        return None

    def _renew_alarm(self) -> None:
        self._alarm = answers.TruncationAlarm(self._endpoint.where, context=self.loaded.context)

    def _require_open(self) -> None:
        if self.http.is_closed:
            raise paragone.EngineError("This engine is closed.", hint="Open it again.")

    async def stop(self) -> None:
        """End the current run, and close the request of the run, so that the server stops too."""
        if self._wait is not None:
            self._wait.stop()

    async def close(self) -> paragone.Caution | None:
        await self.stop()
        hold, self.hold = self.hold, None
        left = await hold.release() if hold is not None else None
        await self.http.aclose()
        return left


def _may_be_json(answer: str | None) -> bool:
    """Whether an answer is JSON; True if the text of the answer is unknown."""
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(answer or "0")
        return True
    return False
