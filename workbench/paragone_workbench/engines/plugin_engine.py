"""An engine of a third-party plugin, on an event loop of its own, with checked answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from paragone import (
    Alternative,
    Backend,
    Caution,
    DistributionsRequest,
    Embeddings,
    EmbedRequest,
    EngineCrashed,
    EngineError,
    Event,
    Finish,
    LoadedModel,
    LoadProgress,
    LogitsBlock,
    OnProgress,
    OpenEngine,
    OpenRequest,
    ParagoneError,
    RunRequest,
    ScoreRequest,
    TokenizedText,
    TokenizeRequest,
    TopTokensRequest,
    Vocabulary,
)
from paragone.checks import check_alternatives, check_embeddings, check_event, check_logits, check_value
from paragone.errors import InterfaceViolation
from paragone.worker import NativeBackend
from paragone_workbench.engines.failures import as_paragone_error
from paragone_workbench.engines.plugin_threads import BLOCKED_S, Blocked, ForeignLoop

_P = ParamSpec("_P")
_T = TypeVar("_T")


class CheckedEngine(OpenEngine):
    """Passes requests to an engine. A wrong answer raises EngineError with the name of the backend and the mistake."""

    def __init__(self, engine: OpenEngine, backend: str) -> None:
        """Check how the engine describes its model. Raises EngineError if the description is wrong."""
        self.engine = engine
        """The engine as the backend opened it."""
        self._backend = backend
        self.loaded = self._checked(check_value, LoadedModel, getattr(engine, "loaded", None))

    @classmethod
    async def of(cls, opened: object, backend: str) -> CheckedEngine:
        """Return the engine that a backend opened. If the engine describes its model wrongly, close the engine and raise EngineError."""
        if not isinstance(opened, OpenEngine):
            raise as_paragone_error(InterfaceViolation.expected("an OpenEngine", opened), backend)
        try:
            return cls(opened, backend)
        except EngineError:
            await opened.close()
            raise

    def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        return self._events(self.engine.run(request))

    def score(self, request: ScoreRequest) -> AsyncGenerator[Event, None]:
        """Compute the log-probabilities of a given text."""
        return self._events(self.engine.score(request))

    async def _events(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """Yield the events up to the end of the answer. Events after the end are left out, with a caution."""
        ended = False
        async with contextlib.aclosing(events):
            async for event in events:
                if ended:
                    sentence = f"The backend {self._backend} sent more after the end of its answer; the rest is left out."
                    yield Caution(code="after-finish", sentence=sentence)
                    return
                checked = self._checked(check_event, event)
                ended = isinstance(checked, Finish)
                yield checked

    async def stop(self) -> None:
        """Ask the current job to end early."""
        await self.engine.stop()

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Return the tokens of a conversation's prompt, or of a text."""
        return self._checked(check_value, TokenizedText, await self.engine.tokenize(request))

    async def distributions(self, request: DistributionsRequest) -> AsyncGenerator[LogitsBlock, None]:
        """Compute the logits over the whole vocabulary."""
        async with contextlib.aclosing(self.engine.distributions(request)) as blocks:
            async for block in blocks:
                yield self._checked(check_logits, block)

    async def top_tokens(self, request: TopTokensRequest) -> AsyncGenerator[tuple[Alternative, ...], None]:
        """Report the likeliest next tokens after tokens of a sequence."""
        async with contextlib.aclosing(self.engine.top_tokens(request)) as positions:
            async for tokens in positions:
                yield self._checked(check_alternatives, tokens)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        return self._checked(check_embeddings, await self.engine.embed(request), len(request.inputs))

    async def vocabulary(self) -> Vocabulary:
        return self._checked(check_value, Vocabulary, await self.engine.vocabulary())

    async def ended(self) -> ParagoneError:
        """Wait until the engine ends by itself, and return why."""
        return as_paragone_error(await self.engine.ended(), self._backend)

    async def close(self) -> Caution | None:
        """Free everything the engine holds, and return the reason if a server keeps the model in memory."""
        left = await self.engine.close()
        return None if left is None else self._checked(check_value, Caution, left)

    def _checked(self, check: Callable[_P, _T], *values: _P.args, **named: _P.kwargs) -> _T:
        try:
            return check(*values, **named)
        except InterfaceViolation as error:
            raise as_paragone_error(error, self._backend) from error


_late: dict[tuple[str, str], Future[Any]] = {}
"""Calls that did not return in time and still run in their threads, by the plugin and the call's `what`."""


CLOSING_S = 2.0
"""Seconds after which an engine that does not close is abandoned."""

MOST_AHEAD = 256
"""Largest number of events of an engine that may wait to be processed."""


def computes_in_a_worker(backend: Backend) -> bool:
    """Whether the backend's engines are processes, so that no code of its author runs in this process."""
    return isinstance(backend, NativeBackend) and type(backend).open is NativeBackend.open


async def open_apart(backend: Backend, request: OpenRequest, on_progress: OnProgress) -> object:
    """Let a backend open an engine on a new event loop, which the engine then keeps. Raises what `Backend.open` raises.

    An opening may block its loop for any time: models take long to load. Cancelling abandons the opening. Returns the
    backend's value; an engine is wrapped in `ForeignEngine`.
    """
    loop = ForeignLoop()
    progress = _Progress(on_progress)
    try:
        opened = await loop.call(lambda: _open(backend, request, progress.report))
    except BaseException:
        loop.end()
        raise
    if not isinstance(opened, OpenEngine):
        loop.end()
        return opened
    return ForeignEngine(opened, loop, backend.name)


async def _open(backend: Backend, request: OpenRequest, on_progress: OnProgress) -> object:
    """Let a backend open an engine. After a cancellation that the backend ignored, close the engine."""
    opened: object = await backend.open(request, on_progress)
    task = asyncio.current_task()
    try:
        await asyncio.sleep(0)  # a cancellation may have arrived while the opening blocked
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
    except asyncio.CancelledError:
        if isinstance(opened, OpenEngine):
            await opened.close()
        raise
    return opened


class _Progress:
    """Passes the newest progress of an opening to the application, at most once per step of its event loop."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()
        self._newest: LoadProgress | None = None

    def report(self, progress: LoadProgress) -> None:
        """Keep the progress for the application. Called in the backend's thread, however often."""
        is_first = self._newest is None
        self._newest = check_value(LoadProgress, progress)
        if is_first:
            self._loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        newest, self._newest = self._newest, None
        if newest is not None:
            self._on_progress(newest)


class ForeignEngine(OpenEngine):
    """Passes requests to an engine in a separate thread. If the engine blocks the thread, each request raises EngineCrashed."""

    def __init__(self, engine: OpenEngine, loop: ForeignLoop, backend: str) -> None:
        self.loaded = engine.loaded
        self.engine = engine
        """The engine as the backend opened it."""
        self._loop = loop
        self._backend = backend

    def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        return self._iterate(lambda: self.engine.run(request))

    def score(self, request: ScoreRequest) -> AsyncGenerator[Event, None]:
        """Compute the log-probabilities of a given text."""
        return self._iterate(lambda: self.engine.score(request))

    def distributions(self, request: DistributionsRequest) -> AsyncGenerator[LogitsBlock, None]:
        """Compute the logits over the whole vocabulary."""
        # an engine may reuse the memory of a block for the next block
        return self._iterate(lambda: self.engine.distributions(request), ahead=1)

    def top_tokens(self, request: TopTokensRequest) -> AsyncGenerator[tuple[Alternative, ...], None]:
        """Report the likeliest next tokens after tokens of a sequence."""
        return self._iterate(lambda: self.engine.top_tokens(request))

    async def stop(self) -> None:
        """Ask the current job to end early."""
        await self._call(self.engine.stop)

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Return the tokens of a conversation's prompt, or of a text."""
        return await self._call(lambda: self.engine.tokenize(request))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        return await self._call(lambda: self.engine.embed(request))

    async def vocabulary(self) -> Vocabulary:
        return await self._call(self.engine.vocabulary)

    async def ended(self) -> ParagoneError:
        """Wait until the engine ends by itself, and return why. Does not detect an engine that blocks: the next request does."""
        try:
            return await self._loop.call(self.engine.ended, ending_s=0)
        except Blocked:
            return self._crash()

    async def close(self) -> None:
        """Close the engine, and end its thread. An engine that blocks is abandoned after `CLOSING_S` seconds, and closed later."""
        has_begun = False

        async def close() -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                await self.engine.close()

        try:
            async with asyncio.timeout(CLOSING_S):
                await self._loop.call(close, ending_s=0)
        except (Blocked, TimeoutError):
            return
        finally:
            self._loop.end(close)

    async def _call(self, call: Callable[[], Coroutine[None, None, _T]]) -> _T:
        try:
            return await self._loop.call(call, watched=True)
        except Blocked as error:
            raise self._crash() from error

    async def _iterate(
        self, make: Callable[[], AsyncGenerator[_T, None]], *, ahead: int = MOST_AHEAD
    ) -> AsyncGenerator[_T, None]:
        try:
            async with contextlib.aclosing(self._loop.iterate(make, ahead=ahead)) as items:
                async for item in items:
                    yield item
        except Blocked as error:
            raise self._crash() from error

    def _crash(self) -> EngineCrashed:
        return EngineCrashed(
            f"An engine of the backend {self._backend} gave no sign of life for {BLOCKED_S:g} seconds: "
            "it blocks its event loop.",
            hint="Open the engine again, and report this to the backend's author; other engines are not affected.",
        )
