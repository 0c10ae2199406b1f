"""What one save writes: a snapshot of what changed in a conversation.

The store's thread reads a batch while the program goes on, so that everything mutable is copied into it.
The records themselves are there as keys: a row that refers to another names the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

from paragone import Caution, FinishReason, Json, ParagoneError, RunSettings, Token
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.store.records import LaneRecord

if TYPE_CHECKING:  # at run time it would import asyncio
    from paragone_workbench.conversation.tree import Conversation, Prompt
    from paragone_workbench.runs.record import RunRecord, RunState

__all__ = ["Batch", "LaneRow", "NewText", "Record", "RunRow"]

Record: TypeAlias = Union["Conversation", "Prompt", LaneRecord, "RunRecord"]
"""What has an id once it is saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """A lane that is new or changed."""

    lane: LaneRecord
    definition: EngineDefinition
    position: int
    closed: bool
    head: RunRecord | None
    """A run that is saved, or in the same batch."""
    keep_head: bool = False
    """Leave the head in the file as it is: the lane's own is not saved yet."""

    @classmethod
    def of(cls, lane: LaneRecord) -> LaneRow:
        """Return the row of a lane as it is now.

        Its head may be a run that is not to be saved yet: the caller then replaces it.
        """
        return cls(
            lane=lane,
            definition=lane.definition,
            position=lane.position,
            closed=lane.closed,
            head=lane.head,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run that is new, has ended, or of which anything but its text changed."""

    run: RunRecord
    lane: LaneRecord
    prompt: Prompt
    continues: RunRecord | None
    """A run that is saved, or stands before this one in the same batch."""
    definition: EngineDefinition
    manifest: Mapping[str, Json]
    state: RunState
    finish: FinishReason | None
    error: ParagoneError | None
    metrics: RunMetrics | None
    settings: RunSettings | None
    cautions: tuple[Caution, ...]
    started: float
    ended: float | None
    text: str
    """The whole answer; empty while the run goes on: see `NewText`."""
    thinking: str
    tokens: tuple[Token, ...]
    """All tokens that were kept; empty while the run goes on."""

    @classmethod
    def of(cls, run: RunRecord, lane: LaneRecord, *, continues: RunRecord | None) -> RunRow:
        """Return the row of a run as it is now. The run answers a prompt."""
        assert run.prompt is not None  # runs outside of conversations are not saved
        running = run.state == "running"
        return cls(
            run=run,
            lane=lane,
            prompt=run.prompt,
            continues=continues,
            definition=run.definition,
            manifest=run.manifest,
            state=run.state,
            finish=run.finish,
            error=run.error,
            metrics=run.metrics,
            settings=run.settings,
            cautions=tuple(run.cautions),
            started=run.started,
            ended=run.ended,
            text="" if running else run.text,
            thinking="" if running else run.thinking,
            tokens=() if running else tuple(run.tokens),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewText:
    """What a run that goes on wrote since its last successful save."""

    run: RunRecord
    text: str = ""
    thinking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What changed in a conversation since the last successful save.

    A record whose id is None becomes a new row; any other updates its row.
    """

    conversation: Conversation
    prompts: tuple[Prompt, ...] = ()
    """New prompts, parents first; they never change afterwards."""
    lanes: tuple[LaneRow, ...] = ()
    runs: tuple[RunRow, ...] = ()
    texts: tuple[NewText, ...] = ()
