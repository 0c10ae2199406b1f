"""A test double: a well-behaved backend of plain asynchronous code, without a worker.

It simulates an adapter of an inference protocol. Tokens of its synthetic model are words, its tokenizer splits at
spaces, and the distribution depends on all previous tokens. It consists of small methods, so that
`flawed_backends` can override each of them with a flaw.
"""

import asyncio
import functools
import itertools
import math
import random
import time
import zlib
from array import array
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import paragone
from paragone.options import as_values, build

WORDS = ("red ", "green ", "blue ", "white ", "black ", "yellow ", "語 ", "😀 ")
SHARES = (0.4, 0.2, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02)
SIZE = 64
"""Size of the vocabulary: the words, and other ids to which words of a prompt are mapped."""
RARE = 1e-4
"""Probability of each token that is not one of the words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliteLoad(paragone.Options):
    context: int = paragone.option(1024, "Context window, in tokens.", minimum=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliteSampling(paragone.Options):
    max_tokens: int = paragone.option(100, "Words to answer with.", minimum=1)
    seed: int | None = paragone.option(None, "Seed of the random numbers.", minimum=0)
    stop: tuple[str, ...] = paragone.option((), "Texts that end the answer.")


@functools.cache
def id_of(word: str) -> int:
    """Return the token of a word."""
    if word in WORDS:
        return WORDS.index(word)
    return len(WORDS) + zlib.crc32(word.encode("utf-8", "replace")) % (SIZE - len(WORDS))


@functools.cache
def logits_of(turn: int) -> tuple[float, ...]:
    """Return the logits for one of as many states as there are words."""
    rare = [RARE * (1 + (turn + token) % 7) for token in range(len(WORDS), SIZE)]
    return tuple(math.log(share) for share in (*SHARES[turn:], *SHARES[:turn], *rare))


@functools.lru_cache(maxsize=1024)
def normalized(logits: tuple[float, ...]) -> tuple[float, ...]:
    """Return the log-probabilities of tokens with these logits."""
    norm = math.log(math.fsum(map(math.exp, logits)))
    return tuple(logit - norm for logit in logits)


@functools.cache
def waves(token: int) -> tuple[float, ...]:
    """Return the part of a token in the embedding of a text."""
    return tuple(math.cos(token * turn) for turn in (1, 2, 3))


class PoliteEngine(paragone.OpenEngine):
    def __init__(self, backend: "PoliteBackend", loaded: paragone.LoadedModel) -> None:
        self.backend = backend
        self.loaded = loaded
        self.closed = False
        self.stopping = False
        self.cache: list[int] = []
        self.seen_words: dict[int, str] = {}
        """The latest words that were converted to these tokens."""

    def words(self, messages: Sequence[paragone.Message]) -> list[str]:
        return [word for message in messages for word in (message.role, *message.text.split())]

    def ids(self, words: Sequence[str]) -> list[int]:
        self.seen_words |= {id_of(word + " "): word + " " for word in words}
        return [id_of(word + " ") for word in words]

    def logits(self, before: Sequence[int], batch: int = 0) -> list[float]:
        """Return the logits after these tokens. The number of tokens computed in one step, `batch`, has no effect."""
        return list(logits_of(sum(before) % len(WORDS)))

    def likelihoods(self, before: Sequence[int], batch: int = 0) -> list[float]:
        """Return the log-probabilities after these tokens."""
        return list(normalized(tuple(self.logits(before, batch))))

    async def run(self, request: paragone.RunRequest) -> AsyncGenerator[paragone.Event, None]:
        self.check_open()
        sampling = build(self.backend.sampling, request.sampling, owner=self.backend.title)
        words = self.words(request.messages) or request.text.split() or [""] * len(request.ids)
        self.check_fits(words)
        self.stopping = False
        seed = random.SystemRandom().randrange(2**32) if sampling.seed is None else sampling.seed
        sampling = replace(sampling, seed=seed)
        chooser = self.chooser(sampling)
        started = time.monotonic()
        prompt = list(request.ids) or self.ids(words)
        for event in self.settings(sampling, words, prompt if request.prompt_ids else None):
            yield event
        cached = self.keep(prompt, cold=request.cold)
        for done in self.steps(cached, len(prompt)):
            await asyncio.sleep(0)
            yield paragone.PromptProgress(done=done, total=len(prompt), cached=cached, time=self.now())
        first = last = self.now()
        count = 0
        reason: paragone.FinishReason = "length"
        sequence = list(prompt)
        for _ in range(sampling.max_tokens):
            if await self.pause():
                reason = "cancelled"
                break
            last = self.now()
            row = self.likelihoods(sequence, 1)
            word = chooser.choices(range(len(WORDS)), [math.exp(row[at]) for at in range(len(WORDS))])[0]
            yield self.token(word, request.logprobs, last, row)
            sequence.append(word)
            count += 1
        usage = paragone.Usage(prompt_tokens=len(prompt), cached_tokens=cached, completion_tokens=count)
        timings = paragone.Timings(prefill_s=first - started, decode_s=last - first)
        for last_event in self.ending(
            paragone.Finish(reason=reason, usage=usage, timings=timings, time=self.now())
        ):
            yield last_event

    def settings(
        self, sampling: PoliteSampling, words: list[str], ids: list[int] | None
    ) -> Sequence[paragone.RunSettings]:
        told = as_values(sampling)
        prompt_ids = None if ids is None else tuple(ids)
        prompt = " ".join(words)
        return (
            paragone.RunSettings(
                seed=sampling.seed, sampling=told, prompt=prompt, prompt_ids=prompt_ids, threads=1
            ),
        )

    def ending(self, finish: paragone.Finish) -> Sequence[paragone.Event]:
        return (finish,)

    def now(self) -> float:
        return time.monotonic()

    async def pause(self) -> bool:
        """Wait for the time that one token takes, and return whether to stop."""
        await asyncio.sleep(0)
        return self.stopping

    def steps(self, cached: int, total: int) -> Sequence[int]:
        return (cached, (cached + total) // 2, total)

    def keep(self, prompt: list[int], *, cold: bool) -> int:
        """Return how many tokens of the prompt are in the cache; the last one never is."""
        pairs = zip(self.cache, prompt[:-1], strict=False)
        same = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
        same = min(len(self.cache), len(prompt) - 1) if same is None else same
        self.cache = prompt
        return 0 if cold else same

    def chooser(self, sampling: PoliteSampling) -> random.Random:
        return random.Random(sampling.seed)

    def token(self, word: int, top: int | None, at: float, row: list[float]) -> paragone.Token:
        token = paragone.Token(text=self.text_of(word), id=word, time=at)
        if top is None:
            return token
        return replace(token, logprob=row[word], top=self.alternatives(top, row))

    def text_of(self, token: int) -> str:
        return WORDS[token] if token < len(WORDS) else f"word{token} "

    def alternatives(self, top: int, row: list[float]) -> tuple[paragone.Alternative, ...]:
        ranked = sorted(range(len(row)), key=lambda token: -row[token])[:top]
        return tuple(paragone.Alternative(text=self.text_of(n), id=n, logprob=row[n]) for n in ranked)

    def check_open(self) -> None:
        if self.closed:
            raise paragone.EngineError("The engine was closed.")

    def check_fits(self, prompt: list[str]) -> None:
        context = self.loaded.context or 0
        if len(prompt) >= context:
            message = f"The prompt has {len(prompt)} tokens, and the context holds {context}."
            raise paragone.ContextOverflow(message, tokens=len(prompt), context=context)

    async def stop(self) -> None:
        self.stopping = True

    async def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        self.check_open()
        if request.ids:
            texts = [self.seen_words.get(token, self.text_of(token)) for token in request.ids]
            return paragone.TokenizedText(text="".join(texts), ids=request.ids)
        words = self.words(request.messages) if request.messages else request.text.split()
        return paragone.TokenizedText(text=" ".join(words), ids=tuple(self.ids(words)))

    async def score(self, request: paragone.ScoreRequest) -> AsyncGenerator[paragone.Event, None]:
        self.check_open()
        self.stopping = False
        words = request.text.split()
        before = self.ids(self.words(request.messages) if request.messages else words[:1])
        tokens = self.ids(words if request.messages else words[1:])
        texts = [word + " " for word in words][-len(tokens) :]
        if request.ids:
            before, tokens = list(request.ids[:1]), list(request.ids[1:])
            first, *texts = (self.text_of(token) for token in request.ids)
            yield paragone.Token(text=first, id=before[0], n_bytes=len(first.encode()), time=self.now())
        reason: paragone.FinishReason = "stop"
        total = len(before) + len(tokens) - 1
        for token, text in zip(tokens, texts, strict=True):
            if await self.pause():
                reason = "cancelled"
                break
            yield paragone.PromptProgress(done=len(before), total=total, time=self.now())
            row = self.score_row(before)
            yield self.scored(
                paragone.Token(
                    text=text,
                    id=token,
                    logprob=row[token],
                    top=self.alternatives(request.top, row),
                    n_bytes=len(text.encode()),
                    time=self.now(),
                )
            )
            before.append(token)
        yield paragone.PromptProgress(done=min(len(before), total), total=total, time=self.now())
        for event in self.ending(paragone.Finish(reason=reason, time=self.now())):
            yield event

    def score_row(self, before: list[int]) -> list[float]:
        return self.likelihoods(before, 4)

    def scored(self, token: paragone.Token) -> paragone.Token:
        return token

    async def distributions(
        self, request: paragone.DistributionsRequest
    ) -> AsyncGenerator[paragone.LogitsBlock, None]:
        self.check_open()
        self.stopping = False
        self.check_sequence(request.ids)
        batch = request.batch or 4
        for at in range(request.start, len(request.ids), batch):
            if await self.pause():
                return
            ends = range(at + 1, min(at + batch, len(request.ids)) + 1)
            rows = [self.row(request.ids[:end], batch) for end in ends]
            data = array("f", itertools.chain.from_iterable(rows))
            yield paragone.LogitsBlock(
                start=self.place(at), rows=len(rows), vocab_size=SIZE, data=memoryview(data)
            )
            data[:] = array("f", [math.nan] * len(data))  # a block is valid until the next one is asked for

    async def top_tokens(
        self, request: paragone.TopTokensRequest
    ) -> AsyncGenerator[tuple[paragone.Alternative, ...], None]:
        self.check_open()
        self.stopping = False
        for end in range(request.start + 1, len(request.ids) + 1):
            if await self.pause():
                return
            yield self.ranked(self.likelihoods(self.seen(request.ids, end), 1))[: request.top]

    def seen(self, ids: Sequence[int], end: int) -> Sequence[int]:
        return ids[:end]

    def ranked(self, row: Sequence[float]) -> tuple[paragone.Alternative, ...]:
        order = sorted(range(len(row)), key=lambda token: -row[token])
        return tuple(paragone.Alternative(text=self.text_of(n), id=n, logprob=row[n]) for n in order)

    def row(self, before: Sequence[int], batch: int) -> list[float]:
        return [logit + 3 for logit in self.logits(before, batch)]  # logits are not normalized

    def place(self, at: int) -> int:
        return at

    def check_sequence(self, ids: Sequence[int]) -> None:
        context = self.loaded.context or 0
        if len(ids) > context:
            raise paragone.ContextOverflow(
                "The sequence exceeds the context.", tokens=len(ids), context=context
            )
        if not all(0 <= token < SIZE for token in ids):
            raise paragone.InputError(f"The vocabulary has {SIZE} tokens.")

    async def embed(self, request: paragone.EmbedRequest) -> paragone.Embeddings:
        self.check_open()
        self.stopping = False
        vectors = []
        sequences = request.ids or [self.ids(text.split()) for text in request.texts]
        for ids in sequences:
            self.check_sequence(ids)
            if await self.pause():
                raise paragone.EngineError("The computation was stopped.")
            vectors.append(self.embedding(ids))
        return paragone.Embeddings(vectors=tuple(vectors), prompt_tokens=sum(map(len, sequences)))

    def embedding(self, ids: Sequence[int]) -> tuple[float, ...]:
        return tuple(math.fsum(parts) / len(ids) for parts in zip(*map(waves, ids), strict=True))

    async def vocabulary(self) -> paragone.Vocabulary:
        self.check_open()
        return paragone.Vocabulary(
            size=SIZE, fingerprint=paragone.fingerprint(self.text_of(n).encode() for n in range(SIZE))
        )

    async def close(self) -> None:
        self.closed = True


class PoliteBackend(paragone.Backend):
    name = "polite"
    title = "Polite"
    api_version = 2
    load_options = PoliteLoad
    sampling = PoliteSampling
    capabilities = paragone.Capabilities(
        logprobs=True,
        plain_text=True,
        token_ids=True,
        tokenize=True,
        score=True,
        distributions=True,
        top_tokens=True,
        embeddings=True,
        estimate=True,
        seed=True,
        continues=True,
        local=True,
    )
    engine: ClassVar[type[PoliteEngine]] = PoliteEngine

    async def probe(self, python: str | None = None) -> paragone.Probe:
        return paragone.Probe(usable=True, facts={"version": "1"})

    async def models(self, folders: Sequence[str]) -> Sequence[paragone.ModelInfo]:
        return [paragone.ModelInfo(model="words", name="Words")]

    async def open(
        self, request: paragone.OpenRequest, on_progress: paragone.OnProgress
    ) -> paragone.OpenEngine:
        options = build(self.load_options, request.options, owner=self.title)
        if request.model != "words":
            raise paragone.InputError(f"There is no model {request.model!r}.", hint="There is 'words'.")
        for fraction in self.fractions():
            await asyncio.sleep(0)
            on_progress(paragone.LoadProgress(fraction=fraction))
        return self.engine(self, paragone.LoadedModel(name="Words", context=options.context))

    def fractions(self) -> Sequence[float]:
        return (0.0, 0.5, 1.0)

    def reaches(self, model: str, options: Mapping[str, paragone.Json]) -> tuple[str, ...]:
        return ()

    async def estimate(self, request: paragone.OpenRequest) -> paragone.MemoryEstimate:
        options = build(self.load_options, request.options, owner=self.title)
        if request.model != "words":
            raise paragone.InputError(f"There is no model {request.model!r}.", hint="There is 'words'.")
        return self.estimated(
            paragone.MemoryEstimate(
                context=options.context,
                devices=(DEVICE,),
                layers=1,
                gpu_layers=0,
                trained_context=4096,
                parameters=4096,
                layout=LAYOUT,
            )
        )

    def estimated(self, estimate: paragone.MemoryEstimate) -> paragone.MemoryEstimate:
        return estimate


DEVICE = paragone.DeviceMemory(
    device="CPU", weights=4096, kv_cache=1024, compute=64, free=1 << 30, total=1 << 31
)
LAYOUT = paragone.ModelLayout(
    parts=(paragone.ModelPart(weights=2048, kv_cache=1024), paragone.ModelPart(weights=1024, shared=512)),
    main_weights=1536,
    compute=64,
)
