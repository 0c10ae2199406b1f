"""A batch: a snapshot of the changes in a conversation that one save writes.

The store's thread reads a batch while the event loop changes the records. Therefore a batch holds copies of
their mutable fields. The records themselves serve only as keys, by which rows refer to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

from paragone import Caution, FinishReason, Json, ParagoneError, RunSettings, Token
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.store.records import LaneRecord

if TYPE_CHECKING:  # not at run time: the import would load asyncio
    from paragone_workbench.conversation.tree import Conversation, Prompt
    from paragone_workbench.runs.record import RunRecord, RunState

__all__ = ["Batch", "LaneRow", "NewText", "Record", "RunRow"]

Record: TypeAlias = Union["Conversation", "Prompt", LaneRecord, "RunRecord"]
"""An object that is assigned an id when it is saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """A lane that is new or changed."""

    lane: LaneRecord
    definition: EngineDefinition
    position: int
    closed: bool
    head: RunRecord | None
    """A run that is already saved or in the same batch."""
    keep_head: bool = False
    """Do not change the saved head, since no newer one can be saved yet."""

    @classmethod
    def of(cls, lane: LaneRecord) -> LaneRow:
        """Return the row of a lane in its current state.

        Its head may be a run that cannot be saved yet; the caller must replace it then.
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
    """A run that is new, has ended, or changed in more than its text."""

    run: RunRecord
    lane: LaneRecord
    prompt: Prompt
    continues: RunRecord | None
    """A run that is already saved, or precedes this one in the same batch."""
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
    """The whole answer; empty before the run ends, when `NewText` holds the text."""
    thinking: str
    tokens: tuple[Token, ...]
    """All tokens of the record; empty before the run ends."""

    @classmethod
    def of(cls, run: RunRecord, lane: LaneRecord, *, continues: RunRecord | None) -> RunRow:
        """Return the row of a run in its current state. The run must have a prompt."""
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
    """Text that a run in progress has added since its last successful save."""

    run: RunRecord
    text: str = ""
    thinking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The changes in a conversation since the last successful save.

    A record without an id is inserted as a new row; a record with an id updates its row.
    """

    conversation: Conversation
    prompts: tuple[Prompt, ...] = ()
    """New prompts, each after its parent. Saved prompts never change."""
    lanes: tuple[LaneRow, ...] = ()
    runs: tuple[RunRow, ...] = ()
    texts: tuple[NewText, ...] = ()
