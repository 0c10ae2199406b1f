"""The kinds of jobs of a worker, each with the type of its request and the type of its answer."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

from paragone.values.messages import (
    DistributionsRequest,
    EmbedRequest,
    OpenRequest,
    RunRequest,
    ScoreRequest,
    TokenizeRequest,
)
from paragone.wire import Json, Value, from_json

if TYPE_CHECKING:  # a worker starts sooner without these imports
    from paragone.backend import Probe
    from paragone.values.embeddings import Embeddings
    from paragone.values.memory import MemoryEstimate
    from paragone.values.models import LoadedModel
    from paragone.values.tokens import TokenizedText, Vocabulary

R = TypeVar("R", bound=Value)
A_co = TypeVar("A_co", bound=Value, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """The request of a job without a request, or the answer of a job without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDistributions:
    """A request for distributions, and the path of the shared buffer for these distributions."""

    request: DistributionsRequest
    buffer: str


class JobKind(NamedTuple, Generic[R, A_co]):
    """A kind of job."""

    name: str
    request: type[R]
    answer: str
    """The type of the answer, as `module:Class`. The module is imported when an answer is read."""

    def read_answer(self, data: Json) -> A_co:
        """Return the answer in `data`. Raises TypeError or ValueError if `data` has another form."""
        module, _, name = self.answer.partition(":")
        return from_json(cast("type[A_co]", getattr(importlib.import_module(module), name)), data)


_NOTHING = f"{__name__}:Nothing"

PROBE: JobKind[Nothing, Probe] = JobKind("probe", Nothing, "paragone.backend:Probe")
LOAD: JobKind[OpenRequest, LoadedModel] = JobKind("load", OpenRequest, "paragone.values.models:LoadedModel")
ESTIMATE: JobKind[OpenRequest, MemoryEstimate] = JobKind(
    "estimate", OpenRequest, "paragone.values.memory:MemoryEstimate"
)
RUN: JobKind[RunRequest, Nothing] = JobKind("run", RunRequest, _NOTHING)
SCORE: JobKind[ScoreRequest, Nothing] = JobKind("score", ScoreRequest, _NOTHING)
TOKENIZE: JobKind[TokenizeRequest, TokenizedText] = JobKind(
    "tokenize", TokenizeRequest, "paragone.values.tokens:TokenizedText"
)
EMBED: JobKind[EmbedRequest, Embeddings] = JobKind(
    "embed", EmbedRequest, "paragone.values.embeddings:Embeddings"
)
VOCABULARY: JobKind[Nothing, Vocabulary] = JobKind("vocabulary", Nothing, "paragone.values.tokens:Vocabulary")
DISTRIBUTIONS: JobKind[SharedDistributions, Nothing] = JobKind("distributions", SharedDistributions, _NOTHING)
