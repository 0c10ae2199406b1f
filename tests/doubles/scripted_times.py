"""A test double: a backend whose runs have scripted times, for exact figures.

A test sets the clock of the runs, `NOW`, at which every prompt is sent. The model's name chooses what is special about
the engine.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from polite_backend import PoliteBackend, PoliteEngine, PoliteLoad

import paragone
from paragone.options import build

NOW = 100.0
PREFILL_S, THINKING_S, STEP_S, END_S = 0.5, 0.25, 0.125, 0.0625
"""Seconds of the prefill, of one thinking token, of one token of the answer, and from the last token to the end."""

MODELS = ("steady", "crashing", "brief", "pieces", "unkept", "mute", "slow", "uneven")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedLoad(PoliteLoad):
    slots: int = paragone.option(1, "Engines that share one model.", minimum=1, slots=True)


class ScriptedEngine(PoliteEngine):
    log: ClassVar[list[tuple[str, int, bool]]] = []
    """Of each run: the model, its prompt's tokens, and whether it was cold."""

    def __init__(self, backend: PoliteBackend, loaded: paragone.LoadedModel, model: str) -> None:
        super().__init__(backend, loaded)
        self.model = model
        self.runs = 0

    async def run(self, request: paragone.RunRequest) -> AsyncGenerator[paragone.Event, None]:
        self.runs += 1
        ids = self.ids(self.words(request.messages))
        cached = 0 if self.model == "unkept" else self.keep(ids, cold=request.cold)
        self.log.append((self.model, len(ids), request.cold))
        if self.model == "crashing" and self.runs == 4:
            raise paragone.EngineCrashed("The engine's process was ended by a test.")
        count = request.sampling["max_tokens"]
        assert isinstance(count, int)
        at = first = NOW + PREFILL_S
        made = min(count, 3) if self.model == "brief" else count
        thoughts = 1 if made > 1 else 0
        step_s = STEP_S * (2 if self.model == "uneven" and self.runs % 2 else 1)
        for number in range(made):
            if number:
                at += THINKING_S if number == thoughts else step_s
            if self.model == "slow" and await self.wait():
                yield paragone.Finish(reason="cancelled", time=at)
                return
            if self.model == "pieces" and number % 2:
                continue
            channel: paragone.Channel = "thinking" if number < thoughts else "answer"
            yield paragone.Token(text="x", channel=channel, id=number, time=at)
        yield paragone.Finish(
            reason="stop" if made < count else "length",
            usage=paragone.Usage(prompt_tokens=len(ids), cached_tokens=cached, completion_tokens=made),
            timings=paragone.Timings(prefill_s=PREFILL_S, decode_s=at - first),
            time=at + END_S,
        )

    async def wait(self) -> bool:
        """Wait for a stop in the second run and later."""
        while self.runs > 1 and not self.stopping:
            await asyncio.sleep(0.01)
        return self.stopping


class ScriptedBackend(PoliteBackend):
    name = "scripted"
    title = "Scripted"
    load_options = ScriptedLoad

    def sharing(self, model: str, options: Mapping[str, paragone.Json]) -> int:
        return build(ScriptedLoad, options).slots

    async def open(
        self, request: paragone.OpenRequest, on_progress: paragone.OnProgress
    ) -> paragone.OpenEngine:
        model = request.model
        opened = await super().open(dataclasses.replace(request, model="words"), on_progress)
        loaded = opened.loaded
        if model == "mute":
            loaded = dataclasses.replace(loaded, capabilities=paragone.Capabilities(local=True))
        return ScriptedEngine(self, loaded, model)
