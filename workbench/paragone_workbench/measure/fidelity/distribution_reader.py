"""Reads the distributions or the likeliest tokens of an engine over the windows of a text."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeAlias, TypeVar

from paragone import (
    Alternative,
    DistributionsRequest,
    EngineCrashed,
    EngineError,
    InputError,
    LogitsBlock,
    OpenEngine,
    TokenizeRequest,
    TopTokensRequest,
    Vocabulary,
)
from paragone_workbench.engines.error_boundary import as_paragone_error
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.measure.fidelity.text_windows import Window, Windows

T = TypeVar("T")

Take: TypeAlias = Callable[[LogitsBlock, slice], T]
"""A function that gets a block, valid only during the call, and a slice with the scored positions of the block's rows."""


class DistributionReader:
    """Reads the distributions of one engine. All methods raise ParagoneError."""

    def __init__(self, handle: EngineHandle) -> None:
        self._handle = handle
        self._name = handle.definition.name
        self._width = 0
        self._stopped = asyncio.Event()
        self._reads = False
        """Whether the engine computes for this reader now, instead of for a run."""

    @property
    def is_full(self) -> bool:
        """Whether the open engine reports distributions over the whole vocabulary."""
        return self._handle.capabilities.distributions

    async def vocabulary(self) -> Vocabulary:
        """Wait until the engine is open, and return the engine's vocabulary."""
        handle = self._handle
        await handle.opened()
        handle.require_open()
        if not (handle.capabilities.distributions or handle.capabilities.top_tokens):
            raise InputError(
                f"{self._name} reports neither distributions over its vocabulary nor the likeliest tokens at "
                "the positions of a given text, so its fidelity cannot be measured.",
                hint="Use an engine that computes on this machine.",
            )
        with self._errors() as engine:
            vocabulary = await engine.vocabulary()
        self._width = vocabulary.size
        return vocabulary

    async def windows(self, text: str, size: int) -> Windows:
        """Return the windows of a text in the engine's tokens."""
        with self._errors() as engine:
            bos = (await engine.tokenize(TokenizeRequest(text=""))).ids
            ids = (await engine.tokenize(TokenizeRequest(text=text))).ids
        return Windows(ids, size, bos=bos[0] if bos else None, owner=self._name)

    async def read(self, window: Window, take: Take[T], *, batch: int | None = None) -> list[T] | None:
        """Call `take` in a thread for each block of a window's rows, and return the results.

        `batch` is the largest number of tokens to compute at once. Returns None after `stop`.
        """
        if self._stopped.is_set():
            return None
        request = DistributionsRequest(ids=window.ids, start=window.start, batch=batch)
        taken: list[T] = []
        rows = 0
        async with self._turn() as engine, contextlib.aclosing(engine.distributions(request)) as blocks:
            async for block in blocks:
                part = slice(rows, rows + block.rows)
                if block.start != window.start + rows or block.vocab_size != self._width:
                    raise EngineError(f"{self._name} returned distributions of an unexpected shape.")
                taken.append(await asyncio.to_thread(take, block, part))
                rows += block.rows
        if self._stopped.is_set():
            return None
        self._check_count(rows, window)
        return taken

    async def read_top(self, window: Window, top: int) -> list[tuple[Alternative, ...]] | None:
        """Return the likeliest tokens at each scored position of a window; None after `stop`."""
        if self._stopped.is_set():
            return None
        request = TopTokensRequest(ids=window.ids, start=window.start, top=top)
        async with self._turn() as engine, contextlib.aclosing(engine.top_tokens(request)) as positions:
            found = [tokens async for tokens in positions]
        if self._stopped.is_set():
            return None
        self._check_count(len(found), window)
        return found

    async def stop(self) -> None:
        """Stop reading the present window, and read no further windows. An engine that is being opened is closed."""
        self._stopped.set()
        if self._handle.is_opening:
            await self._handle.close()
        elif self._handle.engine is not None and self._reads:
            await self._handle.engine.stop()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[OpenEngine]:
        """Wait until no run uses the engine, and yield the engine, which is reserved during the context."""
        async with self._handle.turn:
            self._reads = True
            try:
                with self._errors() as engine:
                    yield engine
            finally:
                self._reads = False

    def _check_count(self, count: int, window: Window) -> None:
        expected = len(window.targets)
        if count != expected:
            raise EngineError(f"{self._name} returned {count:,} of the {expected:,} positions of a window.")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[OpenEngine]:
        """Yield the open engine. Any exception of the engine becomes a ParagoneError."""
        engine = self._handle.require_open()
        try:
            yield engine
        except EngineCrashed as error:
            self._handle.mark_crashed(error)
            raise
        except Exception as error:
            raise as_paragone_error(error, self._handle.definition.backend) from error
