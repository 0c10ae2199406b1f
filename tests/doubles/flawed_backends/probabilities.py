"""Flaws in tokens and probabilities."""

import math
from dataclasses import replace

from polite_backend import PoliteBackend, PoliteEngine

from flawed_backends.found import found_by
from paragone import EngineError, OpenEngine, Token

TOKENS = "tokens agree with the run"
LOGPROBS = "log probabilities come on request"
AGREE = "a score agrees with the run"


def noisy(before, batch):
    """A number from -0.5 to 0.5 that depends on the tokens and on the batch size."""
    return math.sin(sum(before) * 12.9898 + len(before) * 78.233 + batch * 37.719) / 2


@found_by(LOGPROBS, AGREE)
class Probabilities(PoliteEngine):
    def token(self, word: int, top: int | None, at: float, row: list[float]) -> Token:
        return replace(super().token(word, top, at, row), logprob=None if top is None else 0.4)


@found_by(LOGPROBS, "a text is scored")
class LeastLikelyFirst(PoliteEngine):
    def alternatives(self, top: int, row: list[float]):
        return super().alternatives(top, row)[::-1]


@found_by(LOGPROBS, "a text is scored")
class TooManyAlternatives(PoliteEngine):
    def alternatives(self, top: int, row: list[float]):
        return super().alternatives(top + 1, row)


@found_by(LOGPROBS, AGREE)
class PromisesLogprobs(PoliteEngine):
    def token(self, word: int, top: int | None, at: float, row: list[float]) -> Token:
        return super().token(word, None, at, row)


@found_by(LOGPROBS)
class MakesThemUp(PoliteBackend):
    capabilities = replace(PoliteBackend.capabilities, logprobs=False)


@found_by("no log probabilities unless requested")
class UnaskedLogprobs(PoliteEngine):
    def token(self, word: int, top: int | None, at: float, row: list[float]) -> Token:
        return super().token(word, top or 0, at, row)


@found_by(AGREE, "distributions agree with the score")
class ScoresWithShiftedLogits(PoliteEngine):
    def score_row(self, before):
        return super().score_row(before[:-1])


@found_by(AGREE, "distributions agree with the score")
class ScoresWithAWrongMask(PoliteEngine):
    def score_row(self, before):
        return super().score_row(before[1:])


@found_by(AGREE)
class ScoresWithAWrongCache(PoliteEngine):
    """The cached part begins with another token than the prompt."""

    def score_row(self, before):
        return super().score_row([before[0] + 1, *before[1:]] if self.cache else before)


@found_by(AGREE, "distributions agree with the score")
class ScoresWithShiftedLogitsInTheNoise(ScoresWithShiftedLogits):
    """The results of the engine are noisy, as on a CPU without a good kernel."""

    def logits(self, before, batch=0):
        logits = super().logits(before, batch)
        return [logit + noisy((*before, token), batch) for token, logit in enumerate(logits)]


@found_by(AGREE)
class RunsWithAWrongMask(PoliteEngine):
    def likelihoods(self, before, batch=0):
        return super().likelihoods(before[1:] if batch == 1 else before, batch)


@found_by(TOKENS)
class CannotTokenizeAndDoes(PoliteBackend):
    capabilities = replace(PoliteBackend.capabilities, tokenize=False, distributions=False, top_tokens=False)

    class engine(PoliteEngine):
        top_tokens = OpenEngine.top_tokens

        def distributions(self, request):
            raise EngineError("This engine has no distributions.")
