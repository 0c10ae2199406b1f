"""What the store hands out: conversations, their lanes, and what each lane answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from paragone import FinishReason, Image, Json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.metrics import RunMetrics

__all__ = [
    "EndState",
    "Hit",
    "RunState",
    "SavedConversation",
    "SavedLane",
    "SavedPrompt",
    "SavedRun",
    "Summary",
    "Turn",
]

RunState: TypeAlias = Literal["running", "done", "stopped", "failed", "interrupted"]
"""`interrupted`: the program ended while it ran, and what had been saved by then is kept."""
EndState: TypeAlias = Literal["done", "stopped", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPrompt:
    """A prompt, sent to all lanes there were."""

    id: int
    parent_id: int | None
    """The prompt before it; None for the first."""
    text: str
    created: float
    """Seconds since 1970, as all times here."""
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """One prompt answered by one lane."""

    id: int
    prompt_id: int
    lane_id: int
    engine: str
    backend: str
    model: str
    manifest: Mapping[str, Json]
    state: RunState
    text: str
    thinking: str
    finish: FinishReason | None
    error: str
    """Why it failed, in a sentence."""
    metrics: RunMetrics | None
    started: float
    ended: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A prompt and the latest run of it in one lane; None where the lane was not asked."""

    prompt: SavedPrompt
    run: SavedRun | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLane:
    """A lane and its transcript."""

    id: int
    position: int
    definition: EngineDefinition
    """The engine it had last; earlier runs may have another."""
    closed: bool
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedConversation:
    """A conversation, whole: the prompts up to the newest, and every lane's answers to them."""

    id: int
    title: str
    system: str
    created: float
    updated: float
    prompts: tuple[SavedPrompt, ...]
    """From the first to the newest, along one branch."""
    lanes: tuple[SavedLane, ...]
    """In the order of their positions, closed ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A conversation as a list shows it."""

    id: int
    title: str
    engines: tuple[str, ...]
    """Names of the open lanes' engines, in the order of the lanes."""
    prompts: int
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A place where a search found its terms."""

    conversation_id: int
    title: str
    prompt_id: int
    run_id: int | None
    """The answer that was found; None where it is the prompt."""
    engine: str
    """Whose answer it is; empty for a prompt."""
    snippet: str
    """The text around the first term, on one line."""
    marks: tuple[tuple[int, int], ...] = field(default=())
    """Where in the snippet terms stand: start and end of each."""
    time: float
