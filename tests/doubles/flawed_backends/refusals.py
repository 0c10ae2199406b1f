"""Flaws in refusing invalid requests."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from polite_backend import PoliteBackend, PoliteEngine

from flawed_backends.found import found_by
from paragone import (
    ContextOverflow,
    EngineError,
    Event,
    InputError,
    RunRequest,
)


@found_by("an unknown option is refused", "an unknown sampling option is refused")
class IgnoresUnknownOptions(PoliteBackend):
    class engine(PoliteEngine):
        def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
            return super().run(replace(request, sampling=known(self.backend.sampling, request.sampling)))

    async def open(self, request, on_progress):
        return await super().open(
            replace(request, options=known(self.load_options, request.options)), on_progress
        )


def known(options, values):
    return {name: values[name] for name in values if name in options.__dataclass_fields__}


@found_by("a bad option is refused", "a bad sampling option is refused")
class NamesNoOption(PoliteBackend):
    class engine(PoliteEngine):
        async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
            if any(isinstance(value, dict) for value in request.sampling.values()):
                raise InputError("A sampling option has a bad value.")
            async for event in super().run(request):
                yield event

    async def open(self, request, on_progress):
        if any(isinstance(value, dict) for value in request.options.values()):
            raise InputError("An option has a bad value.")
        return await super().open(request, on_progress)


@found_by("an unknown model is refused")
class RaisesTheirError(PoliteBackend):
    async def open(self, request, on_progress):
        if request.model != "words":
            raise FileNotFoundError(request.model)
        return await super().open(request, on_progress)


@found_by("an unknown model is refused")
class PassesTheirErrorOn(PoliteBackend):
    async def open(self, request, on_progress):
        if request.model != "words":
            raise EngineError(f"FileNotFoundError: {request.model}")
        return await super().open(request, on_progress)


@found_by("a prompt beyond the context is refused")
class CutsThePrompt(PoliteEngine):
    def words(self, messages):
        return super().words(messages)[-100:]


@found_by("a prompt beyond the context is refused")
class OverflowWithoutNumbers(PoliteEngine):
    def check_fits(self, prompt: list[str]) -> None:
        try:
            super().check_fits(prompt)
        except ContextOverflow as error:
            raise ContextOverflow("The prompt is too long.") from error


@found_by("an unknown sampling option is refused", "a bad sampling option is refused")
class NeverTheSameAfterAnError(PoliteEngine):
    wrecked = False

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        if self.wrecked:
            raise EngineError("The engine is wrecked.")
        try:
            async for event in super().run(request):
                yield event
        except InputError:
            self.wrecked = True
            raise
