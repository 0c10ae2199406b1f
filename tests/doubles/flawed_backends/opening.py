"""Flaws in opening and closing."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from polite_backend import PoliteBackend, PoliteEngine, PoliteLoad

from flawed_backends.found import found_by
from paragone import WeightsFile, option

MEMORY = "memory is estimated"
PARTS = "the parts of a model add up"
LOADING = "loading reports progress"


@found_by(LOADING)
class LoadProgressFalls(PoliteBackend):
    def fractions(self) -> Sequence[float]:
        return (0.0, 0.6, 0.5, 1.0)


@found_by(LOADING)
class LoadProgressStops(PoliteBackend):
    def fractions(self) -> Sequence[float]:
        return (0.0, 0.99)


@found_by(LOADING)
class LoadProgressInPercent(PoliteBackend):
    def fractions(self) -> Sequence[float]:
        return (0, 50, 100)


@found_by("the loaded model is described")
class FactsAreNumbers(PoliteBackend):
    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        facts: dict[str, Any] = {"layers": 32}
        engine.loaded = replace(engine.loaded, facts=facts)
        return engine


@found_by("the weights are files that exist")
class WeightsUnidentified(PoliteBackend):
    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        engine.loaded = replace(engine.loaded, weights=(WeightsFile(path=request.model),))
        return engine


@found_by("facts are in the notation of their options")
class FactInOtherWords(PoliteBackend):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class load_options(PoliteLoad):
        threads: int = option(1, "Threads.", fact="threads")

    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        engine.loaded = replace(engine.loaded, facts={"threads": "one thread"})
        return engine


@found_by("the loaded model is described")
class Nameless(PoliteBackend):
    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        engine.loaded = replace(engine.loaded, name="")
        return engine


@found_by("two engines are open side by side")
class OneEngineForAll(PoliteBackend):
    only: ClassVar[Any] = None

    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        if self.only is None or self.only.closed:
            OneEngineForAll.only = engine
        return self.only


@found_by("a closed engine cannot be used")
class WorksWhenClosed(PoliteEngine):
    async def close(self) -> None:
        pass


@found_by("a closed engine cannot be used")
class ClosesOnce(PoliteEngine):
    async def close(self) -> None:
        self.check_open()
        await super().close()


@found_by("opening can be cancelled")
class CannotBeGivenUp(PoliteBackend):
    async def open(self, request, on_progress):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return await super().open(request, on_progress)


@found_by(MEMORY)
class EstimatesNothing(PoliteBackend):
    def estimated(self, estimate):
        return replace(estimate, devices=(), layout=None)


@found_by(MEMORY)
class EstimatesLessThanNothing(PoliteBackend):
    def estimated(self, estimate):
        (device,) = estimate.devices
        return replace(estimate, devices=(replace(device, compute=-1),))


@found_by(MEMORY)
class FreesMoreThanThereIs(PoliteBackend):
    def estimated(self, estimate):
        (device,) = estimate.devices
        return replace(estimate, devices=(replace(device, free=1 << 40),))


@found_by(MEMORY)
class IsTrainedForNoContext(PoliteBackend):
    def estimated(self, estimate):
        return replace(estimate, trained_context=0)


class LaysOutOtherwise(PoliteBackend):
    """Changes the layout of the estimate."""

    def laid_out(self, layout):
        return layout

    def estimated(self, estimate):
        return replace(estimate, layout=self.laid_out(estimate.layout))


@found_by(PARTS)
class HasNoParts(LaysOutOtherwise):
    def laid_out(self, layout):
        return replace(layout, parts=())


@found_by(PARTS)
class SharesMoreThanThereIs(LaysOutOtherwise):
    def laid_out(self, layout):
        return replace(layout, parts=(layout.parts[0], replace(layout.parts[1], shared=1025)))


@found_by(PARTS)
class ForgetsTheCache(LaysOutOtherwise):
    def laid_out(self, layout):
        return replace(layout, parts=(replace(layout.parts[0], kv_cache=0), layout.parts[1]))


@found_by(PARTS)
class CountsTheEmbeddingsTwice(LaysOutOtherwise):
    def laid_out(self, layout):
        return replace(layout, main_weights=4096)


@found_by("quantizations have plausible sizes")
class QuantizesToNothing(PoliteBackend):
    quantizations: ClassVar = {"Q0": 0.0}


@found_by(MEMORY)
class CannotEstimateAndDoes(PoliteBackend):
    capabilities = replace(PoliteBackend.capabilities, estimate=False)


@found_by("an estimate fails like opening")
class EstimatesAnything(PoliteBackend):
    async def estimate(self, request):
        return await super().estimate(replace(request, model="words", options={}))
