"""The base class of backends whose engine runs in a worker process, and the environment that its library needs."""

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from paragone import backend, errors, options, requests, threads
from paragone.crash_causes import CrashCause
from paragone.models import LoadedModel, MemoryEstimate, ModelInfo
from paragone.network import GUARD
from paragone.worker import client, process

__all__ = ["Build", "Environment", "NativeBackend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A set of compatible requirements for one major version of CUDA."""

    cuda: str
    driver: int
    """The oldest NVIDIA driver that can run this build, as the first number of the driver's version."""
    requirements: Path
    """A file of requirements, as pip and uv read it."""
    download: int
    """Approximate size of the download in bytes."""
    disk: int
    """Approximate size of the installation in bytes."""
    toolkit: str = ""
    """Folder below `site-packages` of the CUDA toolkit, including nvcc, that the requirements install.

    Empty if the requirements install no toolkit. Packages that compile code in the environment use this toolkit.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    builds: tuple[Build, ...]
    """The available builds, the newest CUDA first."""
    pythons: tuple[str, ...]
    """Versions of Python for which all packages exist, such as `3.12`, without gaps."""
    modules: tuple[str, ...]
    """Modules that are imported in this order to check the finished environment."""


class NativeBackend(backend.Backend):
    """A backend whose `Engine` runs in a worker process."""

    engine: ClassVar[str] = ""
    """The engine's class, as `module:Class`. The application never imports this module."""
    install: ClassVar[str] = ""
    environment: ClassVar[Environment | None] = None
    """The engine's own virtual environment; None if the engine needs no environment."""
    crash_causes: ClassVar[Sequence[CrashCause]] = ()
    """Known causes of the library's crashes, which come before `COMMON_CAUSES`."""

    @abstractmethod
    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the models in these folders and their subfolders. This method may block: it is called in a thread."""

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        return await threads.run_in_thread(lambda: self.find_models(folders))

    async def probe(self, python: str | None = None) -> backend.Probe:
        try:
            worker = await self._start(python, None)
        except errors.ParagoneError as error:
            return backend.Probe(usable=False, reason=error.message, remedy=error.hint)
        try:
            return await worker.answer("probe", None, backend.Probe)
        except errors.ParagoneError as error:
            return backend.Probe(usable=False, reason=error.message, remedy=error.hint or self.install)
        finally:
            await worker.close()

    async def open(
        self, request: requests.OpenRequest, on_progress: backend.OnProgress
    ) -> backend.OpenEngine:
        options.build(self.load_options, request.options, owner=self.title)
        worker = await self._start_for(request)
        try:
            loaded = await worker.answer("load", request, LoadedModel, on_progress)
        except BaseException:
            await worker.close()
            raise
        able = loaded.capabilities or self.capabilities
        worker.loaded = dataclasses.replace(loaded, capabilities=able)
        return worker

    async def estimate(self, request: requests.OpenRequest) -> MemoryEstimate:
        """Return the memory that opening a model would take, computed in a temporary worker."""
        if not self.capabilities.estimate:
            return await super().estimate(request)
        options.build(self.load_options, request.options, owner=self.title)
        worker = await self._start_for(request)
        try:
            return await worker.answer("estimate", request, MemoryEstimate)
        finally:
            await worker.close()

    async def _start_for(self, request: requests.OpenRequest) -> client.Worker:
        """Start a worker, with the network if the request names an address.

        Raises InputError if the request names an address while paragone is offline.
        """
        addresses = self.reaches(request.model, request.options)
        if addresses:
            GUARD.give_network(f"{self.title} with {', '.join(addresses)}")
        return await self._start(request.python, request.log, network=bool(addresses))

    async def _start(self, python: str | None, log: str | None, *, network: bool = False) -> client.Worker:
        started = await process.start_worker(self.engine, python, log, self.crash_causes, network=network)
        return await client.Worker.connect(*started)
