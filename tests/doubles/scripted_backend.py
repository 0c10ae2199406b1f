"""A test double: a backend in the application's process whose engines do what their prompts say.

It stands in for engines of suites. An engine answers a prompt with the same text in upper case. It crashes at a
prompt with the word `crash`, fails at `fail`, wants to end the program at `exit`, does not finish `endless`, does
not even hear a stop at `deaf`, waits at `meet` until two engines answer, and takes the time of its option `delay_s`. The model `steady` neither crashes nor
fails. The model `judge` answers with a verdict on answers to its prompts instead. The model `gone` cannot be
opened, `frail` only once, and `exits` wants to end the program.

Everything that happens is in `EVENTS`, and in the file of the option `log`.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import paragone
from paragone.hooks import hookimpl
from paragone.options import build

FACTS: dict[str, str] = {}
"""What engines tell about themselves when they are opened."""

EVENTS: list[str] = []
"""`open MODEL`, `close MODEL`, `ask MODEL: PROMPT` and `end MODEL: PROMPT`, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedLoad(paragone.Options):
    log: str = paragone.option("", "A file to which all events are written.")
    free: int = paragone.option(
        0, "Free memory that the estimate reports, in bytes; 0 for enough.", minimum=0
    )
    password: str = paragone.option("", "A secret.", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedSampling(paragone.Options):
    delay_s: float = paragone.option(0.0, "Seconds that an answer takes.", minimum=0)
    seed: int | None = paragone.option(None, "A number that changes nothing.", minimum=0)


class ScriptedEngine(paragone.OpenEngine):
    def __init__(self, model: str, log: str, meeting: asyncio.Barrier) -> None:
        self.loaded = paragone.LoadedModel(name=model, context=1024, facts=FACTS)
        self.crashed = False
        self._model = model
        self._log = log
        self._meeting = meeting
        self._stopping = asyncio.Event()

    def happened(self, event: str) -> None:
        EVENTS.append(event)
        if self._log:
            with Path(self._log).open("a", encoding="utf-8") as file:
                file.write(f"{event}\n")

    async def run(self, request: paragone.RunRequest) -> AsyncGenerator[paragone.Event, None]:
        prompt = request.messages[-1].text
        if self.crashed:
            raise paragone.EngineCrashed("The engine's process is gone.")
        self._stopping.clear()
        sampling = build(ScriptedSampling, request.sampling, owner="Scripted")
        if self._model == "judge":
            # of the question, only what stands between the marks, without the instructions
            prompt = " ".join(re.findall(r"BEGIN (?:PROMPT|ANSWER)>>>\n(.*)\n", prompt))
        self.happened(f"ask {self._model}: {prompt}")
        yield paragone.RunSettings(seed=sampling.seed)
        words = () if self._model == "steady" else prompt.split()
        if "crash" in words:
            self.crashed = True
            raise paragone.EngineCrashed("The engine's process crashed (SIGSEGV).", log_tail=("out of luck",))
        if "exit" in words:
            raise SystemExit(3)
        if "fail" in words:
            raise paragone.EngineError("The engine failed.", hint="Try again.")
        if "meet" in words:
            await self._meeting.wait()
        if "deaf" in words:
            await asyncio.sleep(3600)
        if sampling.delay_s or "endless" in words:
            limit = None if "endless" in words else sampling.delay_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), limit)
        reason: paragone.FinishReason = "cancelled" if self._stopping.is_set() else "stop"
        text = self._verdict(words) if self._model == "judge" else prompt.upper()
        if reason == "stop":
            yield paragone.Token(text=text, time=time.monotonic())
        self.happened(f"end {self._model}: {prompt}")
        usage = paragone.Usage(prompt_tokens=len(words), completion_tokens=1)
        yield paragone.Finish(reason=reason, usage=usage, time=time.monotonic())

    def _verdict(self, words: Sequence[str]) -> str:
        if "nonsense" in words:
            return "I would rather talk about the weather."
        return f"I read it.\nVERDICT: {'FAIL' if 'bad' in words else 'PASS'}"

    async def stop(self) -> None:
        self._stopping.set()

    async def close(self) -> None:
        self.happened(f"close {self._model}")


class ScriptedBackend(paragone.Backend):
    name = "scripted"
    title = "Scripted"
    api_version = 2
    load_options = ScriptedLoad
    sampling = ScriptedSampling
    capabilities = paragone.Capabilities(estimate=True, local=True)

    def __init__(self) -> None:
        self._opened: set[str] = set()
        self._meeting = asyncio.Barrier(2)

    async def probe(self, python: str | None = None) -> paragone.Probe:
        return paragone.Probe(usable=True)

    async def models(self, folders: Sequence[str]) -> Sequence[paragone.ModelInfo]:
        return ()

    async def open(
        self, request: paragone.OpenRequest, on_progress: paragone.OnProgress
    ) -> paragone.OpenEngine:
        options = build(ScriptedLoad, request.options, owner="Scripted")
        if request.model == "exits":
            raise SystemExit(3)
        if request.model == "gone" or (request.model == "frail" and "frail" in self._opened):
            raise paragone.InputError(f"The model {request.model} is gone.", hint="Put it back.")
        self._opened.add(request.model)
        engine = ScriptedEngine(request.model, options.log, self._meeting)
        engine.happened(f"open {request.model}")
        return engine

    async def estimate(self, request: paragone.OpenRequest) -> paragone.MemoryEstimate:
        options = build(ScriptedLoad, request.options, owner="Scripted")
        needed = paragone.DeviceMemory(
            device="CPU", weights=1 << 30, kv_cache=0, compute=0, free=options.free or 1 << 40
        )
        return paragone.MemoryEstimate(context=1024, devices=(needed,))


class ScriptedServerBackend(ScriptedBackend):
    """The same engines, as if they were on a server."""

    name = "scripted_server"
    title = "Scripted server"
    capabilities = paragone.Capabilities()

    def reaches(self, model: str, options: Mapping[str, paragone.Json]) -> tuple[str, ...]:
        return ("http://double.test:1",)


@hookimpl
def paragone_backends() -> Iterable[paragone.Backend]:
    return [ScriptedBackend(), ScriptedServerBackend()]
