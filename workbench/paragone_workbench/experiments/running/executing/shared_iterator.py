"""An asynchronous generator from which several tasks take items."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedIterator(Generic[T]):
    """Gives each item of a generator to one of several tasks."""

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items = items
        self._taking = asyncio.Lock()  # a generator cannot make two steps at the same time

    async def take(self) -> T | None:
        """Return the next item; None at the end. Raises what the generator raises."""
        async with self._taking:
            return await anext(self._items, None)

    async def close(self) -> None:
        """End the generator."""
        async with self._taking:
            await self._items.aclose()
