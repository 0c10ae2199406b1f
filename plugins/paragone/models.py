"""What is known of a model: found on disk or at an endpoint, and once it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paragone.events import Caution

__all__ = ["Capabilities", "LoadedModel", "ModelInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend, or one open engine of it, can do. What is False here raises an EngineError."""

    logprobs: bool = False
    """Tokens of a run have log-probabilities when it asks for them."""
    tokenize: bool = False
    """`tokenize` returns the tokens of a prompt or a text."""
    score: bool = False
    """`score` returns the log-probabilities of a given text."""
    distributions: bool = False
    """`distributions` returns the logits over the whole vocabulary."""
    estimate: bool = False
    """`estimate` returns the memory that a model needs, without loading it."""
    seed: bool = False
    """The same seed gives the same answer, when the KV cache is not reused."""
    local: bool = False
    """It computes on this machine, so that engines that run at the same time share the cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model that could be opened, as its file's header or its server tells. None where unknown."""

    model: str
    """What `OpenRequest.model` takes to open it."""
    name: str
    size: int | None = None
    """Bytes on disk, all parts together."""
    quantization: str | None = None
    """The field's name for it: `Q4_K_M`, `EXL2 4.0 bpw`, `F16`."""
    context: int | None = None
    """Context window that it was trained for, in tokens."""
    architecture: str | None = None
    capabilities: tuple[str, ...] = ()
    """What its server says that it can do: `completion`, `vision`, `thinking` …"""
    problem: str = ""
    """Why it cannot be opened, where that is plain already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that is open, and how it really was opened."""

    name: str
    context: int | None = None
    """Size of the context window in force, in tokens: prompt and answer together."""
    size: int | None = None
    """Bytes of the weights."""
    quantization: str | None = None
    architecture: str | None = None
    vision: bool | None = False
    """Whether it takes images in messages; None where its server does not tell."""
    capabilities: Capabilities | None = None
    """What this engine can do, where that depends on the model or the server; None for all that its backend can."""
    cautions: tuple[Caution, ...] = ()
    """What the user should know of this model, whatever is asked of it."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """For the manifest and the curious: library versions, layers on the GPU, cache types, threads."""
