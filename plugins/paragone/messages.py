"""What an engine is asked: messages, and the requests that carry them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from paragone.wire import Json

__all__ = [
    "DistributionsRequest",
    "Image",
    "Message",
    "OpenRequest",
    "Role",
    "RunRequest",
    "ScoreRequest",
    "TokenizeRequest",
]

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture in a message."""

    data: str
    """The file's bytes in base64, as JSON and every server take them."""
    media_type: str
    """`image/png`, `image/jpeg`, `image/webp` or `image/gif`."""
    name: str = ""
    """What the user calls it, for the screen; engines are not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    text: str
    images: tuple[Image, ...] = ()
    """Given only to models whose `LoadedModel.vision` does not rule it out."""
    thinking: str = ""
    """What a reasoning model thought before it answered; templates decide whether it is shown again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """Which model to open, and how."""

    model: str
    """A path, or the model's name at an endpoint: whatever the backend's model lists give as `model`."""
    options: Mapping[str, Json] = field(default_factory=dict)
    """Values for the backend's `load_options`, by name. Checked by the backend."""
    python: str | None = None
    """Interpreter for the worker of a native engine; None for the one that runs the application."""
    threads: int | None = None
    """CPU threads that the engine may use at once, unless its own options say otherwise."""
    log: str | None = None
    """File for what a native engine's process prints; None for a temporary one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One prompt for an open engine."""

    messages: tuple[Message, ...]
    """The conversation so far, oldest first. When the last message is the assistant's, it is continued."""
    sampling: Mapping[str, Json] = field(default_factory=dict)
    """Values for the backend's `sampling` options, by name. Checked by the backend."""
    logprobs: int | None = None
    """How many alternatives to report with each token; 0 for the token's own log-probability only, None for none."""
    threads: int | None = None
    """CPU threads to use for this run, unless the engine's own options say otherwise."""
    cold: bool = False
    """Process the whole prompt anew, reusing no KV cache: reproducible to the bit, and slower."""
    prompt_ids: bool = False
    """Report the token ids of the rendered prompt in `RunSettings.prompt_ids`, if the engine can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A text whose log-probabilities are wanted."""

    text: str
    messages: tuple[Message, ...] = ()
    """The conversation that `text` answers; empty to score `text` as it stands, from its second token on."""
    top: int = 0
    """How many alternatives to report with each token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeRequest:
    """A conversation or a plain text whose tokens are wanted: one of the two."""

    messages: tuple[Message, ...] = ()
    """A conversation, which the chat template renders; nothing is dropped where it exceeds the context."""
    text: str = ""
    """A text as it stands, used where `messages` is empty; it begins with the BOS token if the model adds one."""
    sampling: Mapping[str, Json] = field(default_factory=dict)
    """Sampling options of the run: some of them change the rendered prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionsRequest:
    """A sequence of tokens after which the whole distribution over the vocabulary is wanted."""

    ids: tuple[int, ...]
    """The tokens, computed from an empty KV cache. At most as many as the context holds."""
    start: int = 0
    """Index in `ids` of the first token after which a distribution is wanted; all later ones follow."""
    batch: int | None = None
    """Tokens to compute at once, at most; None for the engine's own batch size.

    An engine's results depend on it slightly: measuring the same tokens in two batch sizes gives the
    engine's own noise.
    """
