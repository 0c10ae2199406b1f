"""The engines of a server, and the answers, scores and embeddings that they compute for requests."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import TypeAlias, TypeVar

import paragone
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.runs.run import Run, RunSpec
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.serving.replies import End, Part, Piece
from paragone_workbench.serving.requests import ApiError, Given, RequestedAnswer

T = TypeVar("T")


async def use(
    pool: EnginePool, engine: EngineTask, work: Callable[[paragone.OpenEngine], Coroutine[None, None, T]]
) -> T:
    """Let `work` use an engine in its turn, and return its result. Cancelling stops the engine. Raises ParagoneError."""
    async with pool.turn(engine):
        return await engine.use(work, asyncio.Event())


MOST_WAITING = 1024
"""Number of answers that may wait for an engine. Further requests are refused, so that memory stays bounded."""


class ServedEngine:
    """An engine that requests name as their model; they wait in order until it has room."""

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
        """The largest `Run.silent_s` of the runs in progress, which shows a frozen engine; 0 without runs."""
        return max((run.silent_s for run in self.runs), default=0)

    @property
    def is_open(self) -> bool:
        return any(handle.is_open for handle in self._handles)

    @property
    def first(self) -> EngineTask:
        return self._handles[0]

    @property
    def options(self) -> type[paragone.Options]:
        backend = self.first.backend
        return paragone.Options if backend is None else backend.sampling

    async def open(self) -> None:
        await self._opened(self.first)

    @contextlib.asynccontextmanager
    async def reserved(self) -> AsyncIterator[EngineTask]:
        """Wait for room, and yield the engine, opened again after a crash. Raises ParagoneError, and ApiError if too many wait."""
        if self.waiting >= MOST_WAITING:
            raise ApiError(
                429, f"{self.waiting:,} answers wait for {self.name}. Try again later.", code="queue_full"
            )
        self.waiting += 1
        try:
            await self._available.acquire()
        finally:
            self.waiting -= 1
        handle = self._free.pop(0)
        try:
            await self._opened(handle)
            yield handle
        finally:
            self._free.insert(0, handle)
            self._available.release()

    async def close(self) -> None:
        await asyncio.gather(*(handle.close() for handle in self._handles))

    def stop_opening(self) -> None:
        for handle in self._handles:
            handle.stop_opening()

    async def _opened(self, handle: EngineTask) -> None:
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

    def find(self, name: str) -> ServedEngine:
        """Return the engine with this name. Raises ApiError."""
        found = self._engines.get(name)
        if found is None:
            names = ", ".join(self._engines)
            sentence = f"There is no model {name[:100]!r}. There are: {names}."
            raise ApiError(404, sentence, param="model", code="model_not_found")
        return found

    async def open(self) -> None:
        await self._pool.registry.load([engine.definition.backend for engine in self.all])
        await asyncio.gather(*(engine.open() for engine in self.all))

    async def stop(self) -> None:
        for engine in self.all:
            engine.stop_opening()
        await self._pool.stop()

    async def close(self) -> None:
        await self._pool.close()


_AT_ONCE = 32
"""Largest number of texts in one request to an engine: few are computed in vain if the client leaves."""


async def embedded(engine: ServedEngine, inputs: Sequence[Given]) -> paragone.Embeddings:
    """Return the vectors of texts and tokens once the engine has room. Raises ParagoneError and ApiError."""
    async with engine.reserved() as handle:
        if not handle.capabilities.embeddings:
            sentence = f"{engine.name} computes no embeddings."
            raise ApiError(404, sentence, param="model", code="not_supported")
        if not handle.capabilities.token_ids and not all(isinstance(item, str) for item in inputs):
            raise ApiError(400, f"{engine.name} takes no token ids: send texts.", param="input")

        async def embed(opened: paragone.OpenEngine) -> Sequence[paragone.Embeddings]:
            return [await opened.embed(request) for request in _requests(inputs)]

        found = await use(engine.pool, handle, embed)
    counts = [part.prompt_tokens for part in found]
    return paragone.Embeddings(
        vectors=tuple(vector for part in found for vector in part.vectors),
        prompt_tokens=None if None in counts else sum(count or 0 for count in counts),
    )


def _requests(inputs: Sequence[Given]) -> Iterator[paragone.EmbedRequest]:
    """Yield requests in the order of the inputs, each for texts alone or for tokens alone."""
    for _, group in itertools.groupby(inputs, type):
        alike = tuple(group)
        for at in range(0, len(alike), _AT_ONCE):
            part = alike[at : at + _AT_ONCE]
            texts = tuple(item for item in part if isinstance(item, str))
            yield paragone.EmbedRequest(
                texts=texts, ids=tuple(item for item in part if not isinstance(item, str))
            )


async def scored(
    pool: EnginePool, handle: EngineTask, given: Given, top: int, *, answer_follows: bool
) -> tuple[paragone.Token, ...]:
    """Return a text's tokens with log-probabilities and `top` alternatives; the first may have none. If
    `answer_follows`, the context must have room for an answer. Raises ParagoneError."""
    if not isinstance(given, str) and not handle.capabilities.token_ids:
        raise paragone.InputError(
            f"{handle.definition.name} takes no token ids.", hint="Send the prompt as a text."
        )
    if not handle.capabilities.score:
        wanted = "log-probabilities of a given text" if isinstance(given, str) else "text of token ids"
        raise paragone.InputError(
            f"{handle.definition.name} does not report the {wanted}.",
            hint="Leave out echo or logprobs, or ask an engine that computes on this machine.",
        )

    async def score(engine: paragone.OpenEngine) -> tuple[paragone.Token, ...]:
        if answer_follows:
            await _check_room(engine, given)
        if not isinstance(given, str):
            return tuple(await _tokens(engine, paragone.ScoreRequest(ids=given, top=top)))
        return _with_beginning(given, await _tokens(engine, paragone.ScoreRequest(text=given, top=top)))

    return await use(pool, handle, score)


async def _check_room(engine: paragone.OpenEngine, given: Given) -> None:
    """Raise ContextOverflow if the given text leaves no room for a token in the context."""
    context, count = engine.loaded.context, len(given)
    if isinstance(given, str):
        count = (await engine.tokenize(paragone.TokenizeRequest(text=given, count_only=True))).length
    if context is not None and count >= context:
        raise paragone.ContextOverflow(
            f"The prompt is {count:,} tokens long and the context holds {context:,}: that leaves no room for an answer.",
            hint="Shorten it, or ask for its log-probabilities alone, with max_tokens 0.",
            tokens=count,
            context=context,
        )


async def _tokens(engine: paragone.OpenEngine, request: paragone.ScoreRequest) -> list[paragone.Token]:
    """Return the scored tokens. A text's first token is missing, unless the model puts a token before every text."""
    found: list[paragone.Token] = []
    async with contextlib.aclosing(engine.score(request)) as events:
        async for event in events:
            if isinstance(event, paragone.Token):
                found.append(event)
            elif isinstance(event, paragone.Finish) and event.reason == "cancelled":
                raise paragone.EngineError("The computation was stopped.")
    return found


def _with_beginning(text: str, tokens: list[paragone.Token]) -> tuple[paragone.Token, ...]:
    """Return the tokens of the whole text: a token for the text before the scored tokens, and the scored tokens."""
    data = text.encode("utf-8", "replace")
    missing = len(data) - sum(token.n_bytes or 0 for token in tokens)
    if missing <= 0:  # the scored tokens cover the whole text; some tokenizers add a space before it
        return tuple(tokens)
    first = paragone.Token(text=data[:missing].decode("utf-8", "ignore"), time=time.monotonic())
    return (first, *(dataclasses.replace(token, channel="answer") for token in tokens))


_Put: TypeAlias = Callable[[Part], Awaitable[None]]
"""Gives a part to the client, once the client has read earlier ones."""

_MOST_UNREAD = 64
"""Number of parts, and of events of each run, that wait for the client's reading. Then the engine waits, too."""


async def parts_of(engine: ServedEngine, choices: Sequence[RequestedAnswer]) -> AsyncGenerator[Part, None]:
    """Yield the pieces and the ends of all answers. Closing this stops the runs. Raises the error of the first that fails."""
    queue: asyncio.Queue[Part | Exception] = asyncio.Queue(_MOST_UNREAD)

    async def compute(index: int, choice: RequestedAnswer) -> None:
        try:
            await _compute(engine, index, choice, queue.put)
        except Exception as error:  # noqa: BLE001 (it is raised below)
            await queue.put(error)

    tasks = [asyncio.create_task(compute(index, choice)) for index, choice in enumerate(choices)]
    left = len(tasks)
    try:
        while left:
            part = await queue.get()
            if isinstance(part, Exception):
                raise part
            left -= isinstance(part, End)
            yield part
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _compute(engine: ServedEngine, index: int, choice: RequestedAnswer, put: _Put) -> None:
    """Compute one answer once the engine has room for it. Raises the same errors as `parts_of`."""
    async with engine.reserved() as handle:
        given: tuple[paragone.Token, ...] = ()
        if choice.given:
            text = choice.given
            # An engine gives the text of token ids only together with their scores.
            if choice.logprobs is not None or not isinstance(text, str):
                answer_follows = choice.run is not None
                given = await scored(
                    engine.pool, handle, text, choice.logprobs or 0, answer_follows=answer_follows
                )
            if not isinstance(text, str):
                text = "".join(token.text for token in given)
            await put(Piece(index=index, text=text, tokens=given))
        if choice.run is None:
            await put(End(index=index, reason="length", prompt_tokens=len(given)))
        else:
            await _execute(engine, handle, index, choice.run, put)


async def _execute(engine: ServedEngine, handle: EngineTask, index: int, spec: RunSpec, put: _Put) -> None:
    """Execute a run to its end. Raises the same errors as `parts_of`."""
    if spec.logprobs is not None and not handle.capabilities.logprobs:
        raise ApiError(400, f"{engine.name} reports no log-probabilities.", param="logprobs")
    run = engine.pool.run(handle, spec)
    engine.runs.add(run)
    tokens: list[paragone.Token] = []
    try:
        async with contextlib.aclosing(run.events(_MOST_UNREAD)) as events:
            async for event in events:
                if isinstance(event, paragone.Token):
                    tokens += [event] if spec.logprobs is not None else []
                    if event.text:
                        await put(
                            Piece(index=index, text=event.text, channel=event.channel, tokens=tuple(tokens))
                        )
                        tokens.clear()
        result = await run
    finally:  # a client that leaves cancels this task
        run.stop()
        await run.ended()
        engine.runs.discard(run)
    if tokens:
        await put(Piece(index=index, text="", tokens=tuple(tokens)))
    if result.finish not in ("stop", "length"):
        raise ApiError(503, "The server is ending.")
    metrics = result.metrics
    end = End(
        index=index,
        reason=result.finish,
        prompt_tokens=(metrics.prompt_tokens if metrics else None) or 0,
        completion_tokens=metrics.completion_tokens if metrics else 0,
        ttft_s=metrics.ttft_s if metrics else None,
    )
    await put(end)
