"""The engines of a server, and the answers, scores and embeddings that they compute for requests."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import TypeAlias, TypeVar

import paragone
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.runs.run import Run, RunSpec
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.serving import requests
from paragone_workbench.serving.replies import Part

T = TypeVar("T")

MOST_WAITING = 1024
"""Number of answers that may wait for an engine. Further requests are refused, so that memory stays bounded."""


class ServedEngine:
    """An engine that requests name as their model. Requests wait in order until it has room."""

    def __init__(self, pool: EnginePool, definition: EngineDefinition) -> None:
        self.pool = pool
        self.definition = definition
        self.name = definition.name
        self._handles = pool.add_for_all(definition)
        self._free = list(self._handles)
        self._available = asyncio.Semaphore(len(self._handles))
        self.waiting = 0
        self.runs: set[Run] = set()

    @property
    def computing(self) -> int:
        return len(self._handles) - len(self._free)

    @property
    def silent_s(self) -> int:
        """The largest `Run.silent_s` of the runs in progress: a large value shows a frozen engine. 0 without runs."""
        return max((run.silent_s for run in self.runs), default=0)

    @property
    def is_open(self) -> bool:
        return any(handle.is_open for handle in self._handles)

    @property
    def first(self) -> EngineTask:
        return self._handles[0]

    @property
    def context(self) -> int | None:
        """The size of the context window in tokens; None if it is unknown, as while the engine is closed."""
        return self.first.loaded.context if self.first.loaded is not None else None

    @property
    def options(self) -> type[paragone.Options]:
        backend = self.first.backend
        return paragone.Options if backend is None else backend.sampling

    @contextlib.asynccontextmanager
    async def reserved(self) -> AsyncIterator[EngineTask]:
        """Wait for room, and yield the engine, opened again after a crash. Raises ParagoneError, and ApiError if too many
        wait."""
        if self.waiting >= MOST_WAITING:
            raise requests.ApiError(
                429, f"{self.waiting:,} answers wait for {self.name}. Try again later.", code="queue_full"
            )
        self.waiting += 1
        try:
            await self._available.acquire()
        finally:
            self.waiting -= 1
        handle = self._free.pop(0)
        try:
            await self.opened(handle)
            yield handle
        finally:
            self._free.insert(0, handle)
            self._available.release()

    async def use(
        self, handle: EngineTask, work: Callable[[paragone.OpenEngine], Coroutine[None, None, T]]
    ) -> T:
        """Let `work` use the reserved engine in its turn. Cancelling stops the engine. Raises ParagoneError."""
        async with self.pool.turn(handle):
            return await handle.use(work, asyncio.Event())

    async def opened(self, handle: EngineTask) -> None:
        self.pool.start(handle)
        await handle.opened()
        handle.require_open()


class ServedEngines:
    def __init__(self, pool: EnginePool, definitions: Sequence[EngineDefinition]) -> None:
        self._pool = pool
        self._engines = {definition.name: ServedEngine(pool, definition) for definition in definitions}

    @property
    def all(self) -> Sequence[ServedEngine]:
        return tuple(self._engines.values())

    def find(self, name: paragone.Json) -> ServedEngine:
        """Return the engine with this name; without a name, the only engine. Raises ApiError."""
        if name is None and len(self._engines) == 1:
            return self.all[0]
        if not isinstance(name, str):
            raise requests.wrong("model", "given, as text")
        found = self._engines.get(name)
        if found is None:
            names = ", ".join(self._engines)
            message = f"There is no model {name[:100]!r}. There are: {names}."
            raise requests.ApiError(404, message, param="model", code="model_not_found")
        return found

    async def open(self) -> None:
        await self._pool.registry.load([engine.definition.backend for engine in self.all])
        await asyncio.gather(*(engine.opened(engine.first) for engine in self.all))

    async def stop(self) -> None:
        for engine in self._pool.engines:
            engine.stop_opening()
        await self._pool.stop()

    async def close(self) -> None:
        await self._pool.close()


_AT_ONCE = 32
"""Largest number of texts in one request to an engine: if the client leaves, only a few are computed in vain."""


async def embedded(engine: ServedEngine, inputs: Sequence[requests.Given]) -> paragone.Embeddings:
    """Return the vectors of texts and tokens once the engine has room. Raises ParagoneError and ApiError."""
    async with engine.reserved() as handle:
        if not handle.capabilities.embeddings:
            message = f"{engine.name} does not compute embeddings."
            raise requests.ApiError(404, message, param="model", code="not_supported")
        if not handle.capabilities.token_ids and not all(isinstance(item, str) for item in inputs):
            raise requests.ApiError(
                400, f"{engine.name} does not accept token ids: send texts.", param="input"
            )
        _check_room(max((len(item) for item in inputs if not isinstance(item, str)), default=0), handle)

        async def embed(opened: paragone.OpenEngine) -> Sequence[paragone.Embeddings]:
            return [await opened.embed(request) for request in _requests(inputs)]

        found = await engine.use(handle, embed)
    return paragone.Embeddings(
        vectors=tuple(vector for part in found for vector in part.vectors),
        prompt_tokens=sum(part.prompt_tokens or 0 for part in found),
    )


def _requests(inputs: Sequence[requests.Given]) -> Iterator[paragone.EmbedRequest]:
    """Yield requests in the order of the inputs, each for texts alone or for tokens alone."""
    for _, group in itertools.groupby(inputs, type):
        alike = tuple(group)
        for at in range(0, len(alike), _AT_ONCE):
            part = alike[at : at + _AT_ONCE]
            texts = tuple(item for item in part if isinstance(item, str))
            yield paragone.EmbedRequest(
                texts=texts, ids=tuple(item for item in part if not isinstance(item, str))
            )


async def tokenized(engine: ServedEngine, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
    """Return the tokens of a text, or the text of tokens, once the engine has room. Raises ParagoneError and ApiError."""
    async with engine.reserved() as handle:
        if not _knows_tokens(handle):
            message = f"{engine.name} does not convert texts to tokens and back."
            raise requests.ApiError(404, message, param="model", code="not_supported")
        return await engine.use(handle, lambda opened: opened.tokenize(request))


def _knows_tokens(handle: EngineTask) -> bool:
    able = handle.capabilities
    return able.tokenize and able.token_ids and able.score


def _check_room(length: int, handle: EngineTask, room: int = 0) -> None:
    """Raise ContextOverflow unless the context has room for a prompt of this length and for `room` more tokens."""
    context = handle.require_open().context
    if context is not None and length + room > context:
        raise paragone.ContextOverflow(
            f"The prompt is {length:,} tokens long and the context holds {context:,}{', including the answer' * room}.",
            hint="Shorten it. With echo and max_tokens 0, only the log-probabilities of a prompt are computed.",
            tokens=length,
            context=context,
        )


async def _scored(
    engine: ServedEngine, handle: EngineTask, run: RunSpec, room: int
) -> tuple[paragone.Token, ...]:
    """Return the tokens of a run's prompt with log-probabilities; the first may have none. The context must have room
    for `room` more tokens. Raises ParagoneError."""
    if not _knows_tokens(handle):
        wanted = "text of token ids" if run.ids else "log-probabilities of a given text"
        raise paragone.InputError(
            f"{engine.name} does not report the {wanted}.",
            hint="Omit echo or logprobs, or ask an engine that computes on this machine.",
        )

    async def score(opened: paragone.OpenEngine) -> tuple[paragone.Token, ...]:
        ids, before = run.ids, 0
        if run.text:
            whole = paragone.TokenizeRequest(text=run.text)
            count = (await opened.tokenize(dataclasses.replace(whole, count_only=True))).length
            _check_room(count, handle, room)  # before a long list of tokens is transferred
            ids = (await opened.tokenize(whole)).ids
            own = (await opened.tokenize(dataclasses.replace(whole, bos=False, count_only=True))).length
            before = count - own  # the BOS token is not part of the text
        found: list[paragone.Token] = []
        async with contextlib.aclosing(
            opened.score(paragone.ScoreRequest(ids=ids, top=run.logprobs or 0))
        ) as events:
            async for event in events:
                if isinstance(event, paragone.Token):
                    found.append(event)
                elif isinstance(event, paragone.Finish) and event.reason == "cancelled":
                    raise paragone.EngineError("The computation was stopped.")
        return tuple(found[before:])

    return await engine.use(handle, score)


_Parts: TypeAlias = "asyncio.Queue[Part | Exception]"
_MOST_UNREAD = 64
"""Number of parts, and of events of each run, that may wait until the client reads them. Beyond this, the engine waits."""


async def parts_of(engine: ServedEngine, asked: requests.AnswerRequest) -> AsyncGenerator[Part, None]:
    """Yield the pieces and the ends of all answers. Closing this generator stops the runs. Raises the error of the
    first run that fails."""
    queue: _Parts = asyncio.Queue(_MOST_UNREAD)

    async def compute(index: int) -> None:
        try:
            await _compute(engine, asked, index, queue)
        except Exception as error:  # noqa: BLE001 (it is raised below)
            await queue.put(error)

    left = len(asked.runs)
    tasks = [asyncio.create_task(compute(index)) for index in range(left)]
    try:
        while left:
            part = await queue.get()
            if isinstance(part, Exception):
                raise part
            left -= part.reason is not None
            yield part
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _compute(engine: ServedEngine, asked: requests.AnswerRequest, index: int, queue: _Parts) -> None:
    """Compute one answer once the engine has room for it. Raises the same errors as `parts_of`."""
    run, room = asked.runs[index], int(asked.adds)
    async with engine.reserved() as handle:
        _check_room(len(run.ids), handle, room)
        given: tuple[paragone.Token, ...] = ()
        # An engine returns the text of token ids only together with their scores.
        if asked.echo and (asked.logprobs is not None or run.ids):
            given = await _scored(engine, handle, run, room)
        if asked.echo:
            text = run.text or "".join(token.text for token in given)
            await queue.put(Part(index=index, text=text, tokens=given))
        end = Part(index=index, reason="length", prompt_tokens=len(given))
        if asked.adds:
            end = await _execute(engine, handle, index, run, queue)
        if given and asked.logprobs is not None:
            # Evaluation harnesses use the numbers of tokens to tell the prompt from the completion, so the numbers
            # must agree with the lists. If the model stops immediately, its stop token is the completion.
            if asked.adds and not end.completion_tokens:
                end = dataclasses.replace(end, completion_tokens=1)
                await queue.put(Part(index=index, tokens=(paragone.Token(text="", time=time.monotonic()),)))
            end = dataclasses.replace(end, prompt_tokens=len(given))
        await queue.put(end)


async def _execute(
    engine: ServedEngine, handle: EngineTask, index: int, spec: RunSpec, queue: _Parts
) -> Part:
    """Execute a run, and return the end of its answer. Raises the same errors as `parts_of`."""
    if spec.logprobs is not None and not handle.capabilities.logprobs:
        raise requests.ApiError(400, f"{engine.name} does not report log-probabilities.", param="logprobs")
    run = engine.pool.run(handle, spec)
    engine.runs.add(run)
    tokens: list[paragone.Token] = []
    try:
        async with contextlib.aclosing(run.events(_MOST_UNREAD)) as events:
            async for event in events:
                if isinstance(event, paragone.Token):
                    tokens += [event] if spec.logprobs is not None else []
                    if event.text:
                        await queue.put(
                            Part(index=index, text=event.text, channel=event.channel, tokens=tuple(tokens))
                        )
                        tokens.clear()
        result = await run
    finally:  # a client that leaves cancels this task
        run.stop()
        await run.ended()
        engine.runs.discard(run)
    if tokens:
        await queue.put(Part(index=index, tokens=tuple(tokens)))
    metrics = result.metrics
    if metrics is None or result.finish not in ("stop", "length"):
        raise requests.ApiError(503, "The server is ending.")
    return Part(
        index=index,
        reason=result.finish,
        prompt_tokens=metrics.prompt_tokens or 0,
        completion_tokens=metrics.completion_tokens,
        ttft_s=metrics.ttft_s,
    )
