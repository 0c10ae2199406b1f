"""Computes the answers to a request, as many at the same time as the engine can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from paragone import Channel, Token
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.run import Run
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.serving.protocol.api_error import ApiError
from paragone_workbench.serving.protocol.parts import End, Part, Piece
from paragone_workbench.serving.protocol.requests import RequestedAnswer
from paragone_workbench.serving.scores import scored
from paragone_workbench.serving.served_engine import ServedEngine


async def parts_of(engine: ServedEngine, choices: Sequence[RequestedAnswer]) -> AsyncGenerator[Part, None]:
    """Yield the pieces and the ends of all answers as they are computed. Closing the generator stops the runs.

    Raises the error of the first answer that fails: ParagoneError, or ApiError where the request is wrong.
    """
    queue: asyncio.Queue[Part | BaseException] = asyncio.Queue()

    def failed(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            queue.put_nowait(error)

    tasks = [
        asyncio.create_task(_compute(engine, choice, index, queue.put_nowait))
        for index, choice in enumerate(choices)
    ]
    for task in tasks:
        task.add_done_callback(failed)
    left = len(tasks)
    try:
        while left:
            part = await queue.get()
            if isinstance(part, BaseException):
                raise part
            left -= isinstance(part, End)
            yield part
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _compute(
    engine: ServedEngine, choice: RequestedAnswer, index: int, put: Callable[[Part], None]
) -> None:
    """Compute one answer once the engine has room for it. Raises the same errors as `parts_of`."""
    async with engine.reserved() as handle:
        given: tuple[Token, ...] = ()
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
            put(Piece(index=index, text=text, tokens=given))
        if choice.run is None:
            put(End(index=index, reason="length", prompt_tokens=len(given)))
        else:
            put(await _executed(engine, handle, choice.run, _Pieces(index, put)))


async def _executed(engine: ServedEngine, handle: EngineHandle, spec: RunSpec, pieces: _Pieces) -> End:
    """Execute a run to its end. Raises the same errors as `parts_of`."""
    if spec.logprobs is not None and not handle.capabilities.logprobs:
        raise ApiError(400, f"{engine.name} reports no log-probabilities.", param="logprobs")
    execution = engine.pool.run(handle, spec, pieces)
    engine.runs.add(execution.run)
    try:
        result = await execution.result()
    finally:  # a client that leaves cancels this task
        await execution.stop()
        await execution.ended()
        engine.runs.discard(execution.run)
    if result.finish not in ("stop", "length"):
        raise ApiError(503, "The server is ending.")
    metrics = result.metrics
    return End(
        index=pieces.index,
        reason=result.finish,
        prompt_tokens=(metrics.prompt_tokens if metrics else None) or 0,
        completion_tokens=metrics.completion_tokens if metrics else 0,
        ttft_s=metrics.ttft_s if metrics else None,
    )


class _Pieces(RunObserver):
    """Passes on the texts and the tokens of a run as pieces of an answer."""

    def __init__(self, index: int, put: Callable[[Part], None]) -> None:
        self.index = index
        self._put = put
        self._passed = 0
        """Number of tokens that were passed on."""

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        tokens = run.tokens_from(self._passed)
        self._passed += len(tokens)
        self._put(Piece(index=self.index, text=text, channel=channel, tokens=tokens))

    def run_ended(self, run: Run) -> None:
        if tokens := run.tokens_from(self._passed):
            self._put(Piece(index=self.index, text="", tokens=tokens))
