"""The interface for loading and unloading the models of a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from paragone import OnProgress
from paragone_remote.http.transport import EndpointClient


class ModelLoader(ABC):
    """Loads and unloads models at one server. The methods raise ParagoneError if the server fails."""

    downloads: ClassVar[bool] = False
    """Whether the server downloads models on request."""

    def __init__(self, http: EndpointClient) -> None:
        self.http = http
        self.endpoint = http.endpoint

    @abstractmethod
    async def loaded(self) -> frozenset[str]:
        """Return all names of the models that are in memory or are being loaded."""

    @abstractmethod
    async def load(self, model: str, on_progress: OnProgress) -> None:
        """Load a model unless it is loaded, and return once the model can answer."""

    @abstractmethod
    async def unload(self, model: str) -> None:
        """Tell the server to unload a loaded model. The server may free the memory later."""
