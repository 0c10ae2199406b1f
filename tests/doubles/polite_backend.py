"""A test double: a well-behaved backend of plain asynchronous code, without a worker.

It stands in for an adapter of an inference protocol. It computes nothing: its tokens are words of a
list, drawn with the seed, and its tokenizer splits at blanks. Small methods, each with one duty, are
there for `flawed_backends` to get wrong.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from paragone import (
    Alternative,
    Backend,
    Capabilities,
    ContextOverflow,
    EngineError,
    Event,
    Finish,
    FinishReason,
    InputError,
    LoadedModel,
    LoadProgress,
    Message,
    ModelInfo,
    OnProgress,
    OpenEngine,
    OpenRequest,
    Options,
    Probe,
    PromptProgress,
    RunRequest,
    ScoreRequest,
    Timings,
    Token,
    Usage,
    option,
)
from paragone.options import build

WORDS = ("red ", "green ", "blue ", "white ", "black ", "yellow ", "語 ", "😀 ")
SHARES = (0.4, 0.2, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliteLoad(Options):
    context: int = option(1024, "Context window, in tokens.", minimum=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliteSampling(Options):
    max_tokens: int = option(100, "Words to answer with.", minimum=1)
    seed: int | None = option(None, "Seed of the random numbers.", minimum=0)
    stop: tuple[str, ...] = option((), "Texts that end the answer.")


class PoliteEngine(OpenEngine):
    def __init__(self, backend: "PoliteBackend", loaded: LoadedModel) -> None:
        self.backend = backend
        self.loaded = loaded
        self.closed = False
        self.stopping = False
        self.cache: list[str] = []

    def words(self, messages: Sequence[Message]) -> list[str]:
        return [word for message in messages for word in (message.role, *message.text.split())]

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        self.check_open()
        sampling = build(self.backend.sampling, request.sampling, owner=self.backend.title)
        prompt = self.words(request.messages)
        self.check_fits(prompt)
        self.stopping = False
        chooser = self.chooser(sampling)
        started = time.monotonic()
        cached = self.keep(prompt, cold=request.cold)
        for done in self.steps(cached, len(prompt)):
            await asyncio.sleep(0)
            yield PromptProgress(done=done, total=len(prompt), cached=cached, time=self.now())
        first = last = self.now()
        count = 0
        reason: FinishReason = "length"
        for _ in range(sampling.max_tokens):
            if await self.pause():
                reason = "cancelled"
                break
            last = self.now()
            yield self.token(chooser.choices(range(len(WORDS)), SHARES)[0], request.logprobs, last)
            count += 1
        usage = Usage(prompt_tokens=len(prompt), cached_tokens=cached, completion_tokens=count)
        timings = Timings(prefill_s=first - started, decode_s=last - first)
        for event in self.ending(Finish(reason=reason, usage=usage, timings=timings, time=self.now())):
            yield event

    def ending(self, finish: Finish) -> Sequence[Event]:
        return (finish,)

    def now(self) -> float:
        return time.monotonic()

    async def pause(self) -> bool:
        """Do what takes time, and return whether to stop."""
        await asyncio.sleep(0)
        return self.stopping

    def steps(self, cached: int, total: int) -> Sequence[int]:
        return (cached, (cached + total) // 2, total)

    def keep(self, prompt: list[str], *, cold: bool) -> int:
        """Return how much of the prompt is in the cache; its last token never is."""
        pairs = zip(self.cache, prompt[:-1], strict=False)
        same = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
        same = min(len(self.cache), len(prompt) - 1) if same is None else same
        self.cache = prompt
        return 0 if cold else same

    def chooser(self, sampling: PoliteSampling) -> random.Random:
        return random.Random(sampling.seed)

    def token(self, word: int, top: int | None, at: float) -> Token:
        token = Token(text=WORDS[word], id=word, time=at)
        if top is None:
            return token
        return replace(token, logprob=math.log(SHARES[word]), top=self.alternatives(top))

    def alternatives(self, top: int) -> tuple[Alternative, ...]:
        pairs = list(zip(WORDS, SHARES, strict=True))[:top]
        return tuple(
            Alternative(text=word, id=n, logprob=math.log(share)) for n, (word, share) in enumerate(pairs)
        )

    def check_open(self) -> None:
        if self.closed:
            raise EngineError("The engine was closed.")

    def check_fits(self, prompt: list[str]) -> None:
        context = self.loaded.context or 0
        if len(prompt) >= context:
            sentence = f"The prompt has {len(prompt)} tokens, and the context holds {context}."
            raise ContextOverflow(sentence, tokens=len(prompt), context=context)

    async def stop(self) -> None:
        self.stopping = True

    async def count(self, messages: Sequence[Message]) -> int:
        self.check_open()
        return len(self.words(messages))

    async def score(self, request: ScoreRequest) -> tuple[Token, ...]:
        self.check_open()
        words = [word + " " for word in request.text.split()][0 if request.messages else 1 :]
        return tuple(
            Token(
                text=word,
                id=WORDS.index(word) if word in WORDS else n,
                logprob=self.likelihood(word),
                top=self.alternatives(request.top),
                time=self.now(),
            )
            for n, word in enumerate(words, len(WORDS))
        )

    def likelihood(self, word: str) -> float:
        return math.log(SHARES[WORDS.index(word)]) if word in WORDS else -1.0

    async def close(self) -> None:
        self.closed = True


class PoliteBackend(Backend):
    name = "polite"
    title = "Polite"
    api_version = 2
    load_options = PoliteLoad
    sampling = PoliteSampling
    capabilities = Capabilities(logprobs=True, score=True, count=True, local=True)
    engine: ClassVar[type[PoliteEngine]] = PoliteEngine

    async def probe(self, python: str | None = None) -> Probe:
        return Probe(usable=True, facts={"version": "1"})

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        return [ModelInfo(model="words", name="Words")]

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        options = build(self.load_options, request.options, owner=self.title)
        if request.model != "words":
            raise InputError(f"There is no model {request.model!r}.", hint="There is 'words'.")
        for fraction in self.fractions():
            await asyncio.sleep(0)
            on_progress(LoadProgress(fraction=fraction))
        return self.engine(self, LoadedModel(name="Words", context=options.context))

    def fractions(self) -> Sequence[float]:
        return (0.0, 0.5, 1.0)
