"""Flaws of servers that load models on demand."""

from dataclasses import replace
from typing import Any, ClassVar

from polite_backend import PoliteBackend, PoliteEngine

from flawed_backends.found import found_by
from paragone import Caution, EndpointReport, ModelInfo, Probe

CLOSING = "the last engine to be closed unloads the model"
TELLING = "the server tells that the model is loaded"


class LoadingBackend(PoliteBackend):
    """A correct backend whose server has the model in memory while an engine is open."""

    capabilities = replace(PoliteBackend.capabilities, loads=True)
    users: ClassVar[list[Any]] = []
    """The open engines, of each subclass."""

    def __init_subclass__(cls):
        cls.users = []

    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        self.users.append(engine)
        return engine

    async def endpoint(self, options):
        model = ModelInfo(model="words", name="Words", is_loaded=self.is_loaded())
        return EndpointReport(address="", probe=Probe(usable=True, facts={"version": "1"}), models=(model,))

    def is_loaded(self):
        return bool(self.users)

    class engine(PoliteEngine):
        backend: "LoadingBackend"

        async def close(self):
            await super().close()
            if self in self.backend.users:
                self.backend.users.remove(self)


class CorrectLoading(LoadingBackend):
    """Has users of its own."""


@found_by(TELLING, CLOSING)
class TellsNothing(LoadingBackend):
    def is_loaded(self):
        return None


@found_by(TELLING, CLOSING)
class TellsTheContrary(LoadingBackend):
    def is_loaded(self):
        return not super().is_loaded()


@found_by(CLOSING)
class NeverUnloads(LoadingBackend):
    def is_loaded(self):
        return True


@found_by(CLOSING)
class UnloadsUnderOthers(LoadingBackend):
    class engine(LoadingBackend.engine):
        async def close(self):
            await super().close()
            self.backend.users.clear()


@found_by(CLOSING)
class AlwaysLeavesSomething(PoliteEngine):
    async def close(self):
        await super().close()
        return Caution(code="left", sentence="The model stays in memory.")
