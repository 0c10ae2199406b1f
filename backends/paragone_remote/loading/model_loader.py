"""The interface of what loads and unloads the models of a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from paragone import OnProgress


class ModelLoader(ABC):
    """Loads and unloads models at one server. Its methods raise ParagoneError."""

    downloads: ClassVar[bool] = False
    """Whether its server downloads models on request."""

    @abstractmethod
    async def loaded(self) -> frozenset[str]:
        """Return the models that are in memory or are being loaded, each by all names that open it."""

    @abstractmethod
    async def load(self, model: str, on_progress: OnProgress) -> None:
        """Load a model, and return once it can answer: at once if it can already."""

    @abstractmethod
    async def unload(self, model: str) -> None:
        """Tell the server to unload a loaded model. Its memory may become free later."""
