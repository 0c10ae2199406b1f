"""The record of a run: one request to one engine, and its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone import Caution, Channel, FinishReason, Json, ParagoneError, PromptProgress, RunSettings, Token
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.error_boundary import notify_observers
from paragone_workbench.runs.metrics import Meter, RunMetrics
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.spec import RunSpec

if TYPE_CHECKING:
    from paragone import LoadedModel

__all__ = ["EndState", "RunPhase", "RunRecord", "RunState"]

RunPhase: TypeAlias = Literal["waiting", "queued", "prefill", "decode", "ended"]
"""`waiting`: for its engine, for earlier runs, or for its turn; `queued`: in the queue of a server;
`prefill`: the prompt is being processed; `decode`: the answer is being generated."""

RunState: TypeAlias = Literal["running", "done", "stopped", "failed", "interrupted"]
"""`interrupted`: the program ended during the run; what had been saved by then is kept."""

EndState: TypeAlias = Literal["done", "stopped", "failed", "interrupted"]


@dataclass(slots=True, kw_only=True, eq=False)
class RunRecord:
    """A run. The record grows during the run, and is complete once the run has ended.

    It is the only copy of the text: screens and files show what the record contains.
    """

    definition: EngineDefinition
    """The definition of the engine."""
    prompt: Prompt | None = None
    """The prompt that the run answers; None outside of a conversation."""
    continues: RunRecord | None = None
    """The previous run of the conversation; None for the first."""
    spec: RunSpec | None = None
    """The request; None while the run waits."""
    phase: RunPhase = "waiting"
    state: RunState = "running"
    finish: FinishReason | None = None
    error: ParagoneError | None = None
    """Why the run failed."""
    cautions: list[Caution] = field(default_factory=list)
    """Warnings for the user."""
    settings: RunSettings | None = None
    """The settings in force, as far as the engine reports them."""
    loaded: LoadedModel | None = None
    """The model that answered, as it was loaded then."""
    progress: PromptProgress | None = None
    """How much of the prompt has been processed."""
    silent_s: int = 0
    """Seconds for which a server has sent nothing; 0 while data comes."""
    meter: Meter | None = None
    """Computes the metrics so far; None before the request is sent, and for runs read from the history."""
    metrics: RunMetrics | None = None
    """The metrics, once the run has ended."""
    manifest: Mapping[str, Json] = field(default_factory=dict)
    """The data needed to reproduce the run."""
    tokens: list[Token] = field(default_factory=list)
    """The tokens with their log-probabilities and times, if the spec requests log-probabilities."""
    started: float = field(default_factory=time.time)
    """Seconds since 1970."""
    ended: float | None = None
    """Seconds since 1970; None before the end."""
    id: int | None = None
    """Its id in the history, once it is saved."""
    _pieces: dict[Channel, list[str]] = field(default_factory=lambda: {"answer": [], "thinking": []})
    _observers: list[RunObserver] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._joined("answer")

    @property
    def thinking(self) -> str:
        """The thinking so far."""
        return self._joined("thinking")

    def add(self, channel: Channel, text: str) -> None:
        """Append text and notify the observers."""
        self._pieces[channel].append(text)
        self.notify(lambda it: it.text_came(self, channel, text))

    def subscribe(self, observer: RunObserver) -> None:
        """Add an observer of the run."""
        self._observers.append(observer)

    def unsubscribe(self, observer: RunObserver) -> None:
        """Remove an observer, if it was added."""
        if observer in self._observers:
            self._observers.remove(observer)

    def notify(self, call: Callable[[RunObserver], None]) -> None:
        """Call a method of each observer."""
        notify_observers(self._observers, call, "a run")

    def changed(self) -> None:
        """Notify all observers that the phase or a figure changed."""
        self.notify(lambda it: it.run_changed(self))

    def _joined(self, channel: Channel) -> str:
        pieces = self._pieces[channel]
        if len(pieces) > 1:
            pieces[:] = ["".join(pieces)]
        return pieces[0] if pieces else ""
