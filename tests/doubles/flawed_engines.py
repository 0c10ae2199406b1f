"""Test doubles, continued: flaws in refusing, in ending early, and in what an engine computes."""

import asyncio
import math
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flawed_backends
from flawed_backends import FLAWS, arguments, backend, engine, fields, found_by, only, results, unable
from polite_backend import PoliteBackend, PoliteEngine

import paragone
from paragone import EngineError, Finish, InputError, OpenEngine, PromptProgress, Token

__all__ = ["FLAWS", "NoisyEngine"]

# ── Refusals ───────────────────────────────────────────────────────────────────────────────────

SAMPLING = "an invalid sampling option is refused"


class AnyOption(PoliteEngine):
    def run(self, request):
        known = {name: value for name, value in request.sampling.items() if name in ("max_tokens", "seed")}
        return super().run(replace(request, sampling=known))


@found_by("what cannot be opened is refused", SAMPLING)
class IgnoresUnknownOptions(PoliteBackend):
    engine = AnyOption

    async def open(self, request, on_progress):
        return await super().open(replace(request, options={}), on_progress)


def refuse_bad(values: Any) -> None:
    if any(isinstance(value, dict) for value in values.values()):
        raise InputError("An option has a bad value.")


class RefusesWithoutAName(PoliteEngine):
    async def run(self, request):
        refuse_bad(request.sampling)
        async for event in super().run(request):
            yield event


@found_by("what cannot be opened is refused", SAMPLING)
class NamesNoOption(PoliteBackend):
    engine = RefusesWithoutAName

    async def open(self, request, on_progress):
        refuse_bad(request.options)
        return await super().open(request, on_progress)


def missing(error: type[Exception]) -> type:
    """A backend with another error for a missing model."""

    def check(request: Any) -> Any:
        if request.model != "words":
            raise error(f"FileNotFoundError: {request.model}")
        return request

    return arguments(PoliteBackend, open=check)


found_by("what cannot be opened is refused", RaisesTheirError=missing(FileNotFoundError))
found_by("a prompt beyond the context is refused", CutsThePrompt=results(words=lambda words: words[-100:]))


@found_by("a prompt beyond the context is refused")
class OverflowWithoutNumbers(PoliteEngine):
    def check_fits(self, prompt):
        try:
            super().check_fits(prompt)
        except paragone.ContextOverflow as error:
            raise paragone.ContextOverflow("The prompt is too long.") from error


@found_by(SAMPLING)
class NeverTheSameAfterAnError(PoliteEngine):
    wrecked = False

    async def run(self, request):
        if self.wrecked:
            raise EngineError("The engine is wrecked.")
        try:
            async for event in super().run(request):
                yield event
        except InputError:
            self.wrecked = True
            raise


# ── Ending early ───────────────────────────────────────────────────────────────────────────────

STOPS = "stop ends a run", "stop ends a run at its start"
LEAVE, CANCEL = "closing the stream stops the engine", "cancelling the task stops the engine"


@found_by(*STOPS)
class FallsSilentWhenStopped(PoliteEngine):
    async def pause(self):
        if await super().pause():
            await asyncio.Event().wait()
        return False


found_by(
    *STOPS,
    IgnoresStop=results(pause=lambda _: False),
    EndsWithoutFinishWhenStopped=engine(ending=lambda self, it: () if it.reason == "cancelled" else (it,)),
    CallsItAStop=flawed_backends.ending(
        lambda it: replace(it, reason="stop") if it.reason == "cancelled" else it
    ),
)


@found_by("stop without a run does nothing")
class StopsTheNextRun(PoliteEngine):
    stop_next = running = False

    async def run(self, request):
        self.running = True
        try:
            async for event in super().run(request):
                self.stopping, self.stop_next = self.stopping or self.stop_next, False
                yield event
        finally:
            self.running = False

    async def stop(self):
        self.stop_next = not self.running
        await super().stop()


@found_by(LEAVE, CANCEL)
class StaysBusyWhenLeft(PoliteEngine):
    busy = False

    async def run(self, request):
        if self.busy:
            raise EngineError("The engine is busy.")
        self.busy = True
        async for event in super().run(request):
            self.busy = not isinstance(event, Finish)
            yield event


@found_by(LEAVE)
class TakesItsTimeWhenLeft(PoliteEngine):
    async def run(self, request):
        try:
            async for event in super().run(request):
                yield event
        except GeneratorExit:
            await asyncio.sleep(0.5)
            raise


@found_by(CANCEL)
class SwallowsCancelling(PoliteEngine):
    async def run(self, request):
        try:
            async for event in super().run(request):
                yield event
        except asyncio.CancelledError:
            yield Finish(reason="cancelled", time=self.now())


# ── Probabilities ──────────────────────────────────────────────────────────────────────────────

LOGPROBS = "log probabilities come on request"
AGREE = "a score agrees with the run"
SCORED = "a text is scored"
SCORE_ENDED = "a score can be stopped"
WHOLE = "distributions are complete"
SAME = "distributions agree with the score"
ENDED = "distributions can be stopped"
REFUSED = "invalid sequences are refused"
VOCABULARY = "the vocabulary stays the same"
RANKED = "top tokens are ranked"
FOLLOW = "top tokens follow the sequence"
TOPS_ENDED = "top tokens can be ended"
EMBEDDED, IDS_EMBEDDED = "texts are embedded", "tokens are embedded"


def noisy(before, batch):
    """A number from -0.5 to 0.5 that depends on the tokens and on the batch size."""
    return math.sin(sum(before) * 12.9898 + len(before) * 78.233 + batch * 37.719) / 2


class NoisyEngine(PoliteEngine):
    """Its results depend on the batch size, as on a CPU without a good kernel."""

    def logits(self, before, batch=0):
        logits = super().logits(before, batch)
        return [logit + noisy((*before, token), batch) for token, logit in enumerate(logits)]


def asked_for(change: Callable[[int | None], int | None]) -> type:
    """An engine that takes the number of alternatives to report for another one."""

    def token(self: Any, word: int, top: int | None, at: float, row: list[float]) -> Token:
        return PoliteEngine.token(self, word, change(top), at, row)

    return engine(token=token)


found_by(
    LOGPROBS,
    AGREE,
    Probabilities=results(token=lambda it: replace(it, logprob=None if it.logprob is None else 0.4)),
    PromisesLogprobs=asked_for(lambda top: None),
)
found_by(
    LOGPROBS,
    SCORED,
    LeastLikelyFirst=results(alternatives=lambda found: found[::-1]),
    TooManyAlternatives=arguments(alternatives=lambda top: top + 1),
)
found_by(LOGPROBS, MakesThemUp=unable("logprobs"))
found_by("log probabilities come on request", UnaskedLogprobs=asked_for(lambda top: top or 0))
found_by(
    AGREE,
    SAME,
    ScoresWithShiftedLogits=arguments(score_row=lambda before: before[:-1]),
    ScoresWithAWrongMask=arguments(score_row=lambda before: before[1:]),
    ScoresWithShiftedLogitsInTheNoise=arguments(NoisyEngine, score_row=lambda before: before[:-1]),
)


@found_by(AGREE)
class ScoresWithAWrongCache(PoliteEngine):
    """The cached part begins with another token than the prompt."""

    def score_row(self, before):
        return super().score_row([before[0] + 1, *before[1:]] if self.cache else before)


@found_by(AGREE)
class RunsWithAWrongMask(PoliteEngine):
    def likelihoods(self, before, batch=0):
        return super().likelihoods(before[1:] if batch == 1 else before, batch)


def refuses(*values):
    raise EngineError("NotImplementedError")


found_by(
    flawed_backends.TOKENS,
    CannotTokenizeAndDoes=backend(
        capabilities=replace(
            PoliteBackend.capabilities, tokenize=False, distributions=False, top_tokens=False
        ),
        engine=engine(top_tokens=OpenEngine.top_tokens, distributions=refuses),
    ),
)
ANOTHER_TEXT = "Something else, and longer than what was asked."
found_by(
    SCORED,
    ScoresAnotherText=arguments(score=fields(text=ANOTHER_TEXT)),
    CannotScoreAndIsRude=unable("score", engine=engine(score=refuses)),
    CountsCharacters=results(scored=lambda token: replace(token, n_bytes=len(token.text))),
    ProgressEndsInTheMiddle=results(score=only(PromptProgress, lambda it: replace(it, total=it.total + 9))),
)
found_by(SCORED, SCORE_ENDED, ScoresWithoutFinish=results(score=only(Finish, lambda _: None)))


@found_by("tokens are scored as their text")
class LeavesOutTheFirstGivenToken(PoliteEngine):
    async def score(self, request):
        comes = not request.ids
        async for event in super().score(request):
            if comes or not isinstance(event, Token):
                yield event
            else:
                comes = True


def deaf(name: str) -> type:
    """An engine that does not stop in this method."""

    async def stream(self: Any, request: Any) -> Any:
        self.hears = False
        try:
            async for item in getattr(PoliteEngine, name)(self, request):
                yield item
        finally:
            self.hears = True

    async def pause(self: Any) -> bool:
        return await PoliteEngine.pause(self) and self.hears

    return type("Deaf", (PoliteEngine,), {"hears": True, "pause": pause, name: stream})


found_by(SCORE_ENDED, ScoreIgnoresStop=deaf("score"))
found_by(ENDED, IgnoresStopOfDistributions=deaf("distributions"))
found_by(TOPS_ENDED, IgnoresStopOfTopTokens=deaf("top_tokens"))


found_by(
    WHOLE,
    CannotAndDoes=unable("distributions"),
    WrongPlace=results(place=lambda _: 0),
    LeavesOutTheLastRow=arguments(distributions=lambda it: replace(it, ids=it.ids[:-1])),
    NotFinite=results(row=lambda row: [math.inf, *row[1:]]),
    AnotherVocabulary=results(vocabulary=fields(size=65)),
)
found_by(
    *(WHOLE, SAME, AGREE, ENDED, REFUSED, VOCABULARY),
    PromisesDistributions=engine(distributions=OpenEngine.distributions, vocabulary=OpenEngine.vocabulary),
)
found_by(
    SAME,
    ShiftedRows=arguments(row=lambda before: before[:-1]),
    RowsOfATemperature=results(row=lambda row: [logit / 0.8 for logit in row]),
)
found_by(
    REFUSED,
    TakesAnyToken=arguments(check_sequence=lambda ids: [token % 64 for token in ids]),
    TakesAnyLength=arguments(check_sequence=lambda ids: ids[:8]),
)
found_by(
    VOCABULARY,
    NewFingerprintEachTime=results(vocabulary=lambda it: replace(it, fingerprint=secrets.token_hex(32))),
)
found_by(
    RANKED,
    CannotAndReports=unable("top_tokens"),
    LikeliestLast=results(ranked=lambda found: found[3::-1]),
    WithoutIds=results(ranked=lambda found: tuple(replace(it, id=None) for it in found)),
)
found_by(RANKED, FOLLOW, TOPS_ENDED, PromisesTopTokens=engine(top_tokens=OpenEngine.top_tokens))
found_by(FOLLOW, AlwaysAfterTheFirst=engine(seen=lambda self, ids, end: ids[:1]))

# ── Embeddings ─────────────────────────────────────────────────────────────────────────────────


def dependent(request: Any) -> Any:
    """The vector of a text depends on the texts beside it."""
    return replace(request, texts=tuple(text + " ".join(request.texts) for text in request.texts))


found_by(EMBEDDED, CannotAndEmbeds=unable("embeddings"), EmbeddingsOfOneText=arguments(embed=dependent))
found_by(
    EMBEDDED,
    IDS_EMBEDDED,
    PromisesEmbeddings=engine(embed=OpenEngine.embed),
    EmbedsTheFirstTextOnly=results(embed=lambda found: replace(found, vectors=found.vectors[:1])),
    SameEmbeddingForAll=results(embedding=lambda _: (1.0, 0.0)),
)
found_by(
    IDS_EMBEDDED,
    AddsATokenToTokens=arguments(embed=lambda it: replace(it, ids=tuple((*ids, 1) for ids in it.ids))),
)


@found_by("embedding can be stopped")
class BusyAfterEmbedding(PoliteEngine):
    busy = False

    async def embed(self, request):
        self.busy = len(request.inputs) > 10
        await asyncio.sleep(0)
        return await super().embed(request)

    def check_fits(self, prompt):
        if self.busy:
            raise EngineError("The engine is busy.")
        super().check_fits(prompt)
