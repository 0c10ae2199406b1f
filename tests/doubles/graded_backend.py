"""A test double: two backends with the same vocabulary, whose engines differ from each other on cue.

They stand in for engines of two backends that run quantizations of one model, and for servers that report
less. The model's name chooses what the engine does; the distributions are the polite backend's.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from polite_backend import PoliteBackend, PoliteEngine, PoliteLoad, PoliteSampling

import paragone
from paragone.hooks import hookimpl
from paragone.options import build

MODELS = {
    "exact": "the reference; computes the same in each batch size",
    "jittery": "differs a little in each batch size",
    "rough": "differs",
    "beginning": "adds a BOS token",
    "foreign": "has another vocabulary",
    "crashing": "crashes in its third window",
    "endless": "does not finish its third window",
    "tops": "reports only its most likely tokens",
    "faltering": "does so too, and fails in its second window",
    "mute": "reports nothing",
    "collapsed": "differs in nothing, until it answers a prompt: then it repeats one word",
    "silent": "answers without any text",
}
TOPS = paragone.Capabilities(tokenize=True, top_tokens=True)
BOS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedLoad(PoliteLoad):
    cache_type: Literal["exact", "q8", "q4"] = paragone.option("exact", "Number type of the KV cache.")


ROUNDING = {"exact": 0.0, "q8": 0.05, "q4": 0.3}
"""By how much the types of the KV cache change logits."""


class Stuck(random.Random):
    """Chooses the first of all things."""

    def choices(self, population, *args: object, **more: object):  # type: ignore[no-untyped-def]
        return population[:1]


class GradedEngine(PoliteEngine):
    def __init__(
        self, backend: PoliteBackend, loaded: paragone.LoadedModel, model: str, cache_type: str
    ) -> None:
        super().__init__(backend, loaded)
        self.model = model
        self.cache_type = cache_type
        self.windows = 0
        self.requests: list[paragone.DistributionsRequest] = []

    def logits(self, before: Sequence[int], batch: int = 0) -> list[float]:
        logits = super().logits(before, batch)
        if rounding := ROUNDING[self.cache_type]:
            chooser = random.Random(sum(before))
            return [logit + chooser.gauss(0, rounding) for logit in logits]
        if self.model == "rough":
            chooser = random.Random(sum(before))
            return [logit + chooser.gauss(0, 0.5) for logit in logits]
        if self.model == "jittery":
            chooser = random.Random(sum(before) * 100 + batch)
            return [logit + chooser.gauss(0, 0.02) for logit in logits]
        return logits

    def text_of(self, token: int) -> str:
        return ("other" if self.model == "foreign" else "") + super().text_of(token)

    def chooser(self, sampling: PoliteSampling) -> random.Random:
        return Stuck() if self.model == "collapsed" else super().chooser(sampling)

    async def run(self, request: paragone.RunRequest) -> AsyncGenerator[paragone.Event, None]:
        async for event in super().run(request):
            if self.model != "silent" or not isinstance(event, paragone.Token):
                yield event

    async def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        tokenized = await super().tokenize(request)
        return replace(tokenized, ids=(BOS, *tokenized.ids)) if self.model == "beginning" else tokenized

    async def distributions(
        self, request: paragone.DistributionsRequest
    ) -> AsyncGenerator[paragone.LogitsBlock, None]:
        self.windows += 1
        self.requests.append(request)
        async for block in super().distributions(request):
            yield block
            if self.model == "crashing" and self.windows == 3:
                raise paragone.EngineCrashed(
                    "The engine's process crashed (SIGSEGV).", log_tail=("ggml: out of luck",)
                )
            while self.model == "endless" and self.windows == 3 and not self.stopping:
                await asyncio.sleep(0.01)

    async def top_tokens(
        self, request: paragone.TopTokensRequest
    ) -> AsyncGenerator[tuple[paragone.Alternative, ...], None]:
        self.windows += 1
        async for top in super().top_tokens(request):
            yield top
            if self.model == "faltering" and self.windows == 2:
                raise paragone.EngineError("The server at http://double returned no log-probabilities.")


class GradedBackend(PoliteBackend):
    name = "graded"
    title = "Graded"
    capabilities = paragone.Capabilities(tokenize=True, distributions=True, logprobs=True, local=True)
    load_options = GradedLoad

    async def open(
        self, request: paragone.OpenRequest, on_progress: paragone.OnProgress
    ) -> paragone.OpenEngine:
        model = request.model
        if model not in MODELS:
            raise paragone.InputError(f"There is no model {model!r}.")
        able = (
            TOPS if model in ("tops", "faltering") else paragone.Capabilities() if model == "mute" else None
        )
        loaded = paragone.LoadedModel(
            name=model, context=1024, size=10**6 * (1 + len(model)), capabilities=able
        )
        options = build(GradedLoad, request.options, owner=self.title)
        return GradedEngine(self, loaded, model, options.cache_type)


class TwinBackend(GradedBackend):
    """The second backend: another adapter of the same models."""

    name = "twin"
    title = "Twin"


@hookimpl
def paragone_backends() -> Iterable[paragone.Backend]:
    return [GradedBackend(), TwinBackend()]
