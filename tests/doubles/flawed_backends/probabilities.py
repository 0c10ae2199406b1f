"""Flaws in counts and probabilities."""

from dataclasses import replace

from polite_backend import PoliteBackend, PoliteEngine

from flawed_backends.found import found_by
from paragone import (
    Capabilities,
    EngineError,
    Token,
)

COUNT = "count agrees with the run"
LOGPROBS = "log probabilities come when asked for"


@found_by(LOGPROBS, "a score agrees with the run")
class Probabilities(PoliteEngine):
    def token(self, word: int, top: int | None, at: float) -> Token:
        return replace(super().token(word, top, at), logprob=None if top is None else 0.4)


@found_by(LOGPROBS, "a text is scored")
class LeastLikelyFirst(PoliteEngine):
    def alternatives(self, top: int):
        return super().alternatives(top)[::-1]


@found_by(LOGPROBS, "a text is scored")
class TooManyAlternatives(PoliteEngine):
    def alternatives(self, top: int):
        return super().alternatives(top + 1)


@found_by(LOGPROBS, "a score agrees with the run")
class PromisesLogprobs(PoliteEngine):
    def token(self, word: int, top: int | None, at: float) -> Token:
        return super().token(word, None, at)


@found_by(LOGPROBS)
class MakesThemUp(PoliteBackend):
    capabilities = Capabilities(score=True, count=True, local=True)


@found_by("no log probabilities unless asked for")
class UnaskedLogprobs(PoliteEngine):
    def token(self, word: int, top: int | None, at: float) -> Token:
        return super().token(word, top or 0, at)


@found_by("a text is scored")
class ScoresNothing(PoliteEngine):
    async def score(self, request):
        return ()


@found_by("a text is scored")
class ScoresAnotherText(PoliteEngine):
    async def score(self, request):
        return await super().score(replace(request, text="Something else, and longer than what was asked."))


@found_by("a score agrees with the run")
class ScoresOtherwise(PoliteEngine):
    def likelihood(self, word: str) -> float:
        return super().likelihood(word) * 1.5


@found_by("a text is scored")
class CannotScoreAndIsRude(PoliteBackend):
    capabilities = Capabilities(logprobs=True, count=True, local=True)

    class engine(PoliteEngine):
        async def score(self, request):
            raise EngineError("NotImplementedError")


@found_by(COUNT)
class CannotCountAndDoes(PoliteBackend):
    capabilities = Capabilities(logprobs=True, score=True, local=True)
