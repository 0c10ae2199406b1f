"""The record of a run: one request to one engine, and everything that came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from paragone import (
    Caution,
    Channel,
    FinishReason,
    Json,
    LoadedModel,
    ParagoneError,
    PromptProgress,
    RunSettings,
    Token,
)
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.error_boundary import report
from paragone_workbench.runs.metrics import Meter, RunMetrics
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.spec import RunSpec

__all__ = ["EndState", "RunPhase", "RunRecord", "RunState"]

RunPhase: TypeAlias = Literal["waiting", "prefill", "decode", "ended"]
"""`waiting`: for its engine, for runs before it, or for its turn; `prefill`: the prompt is processed."""

RunState: TypeAlias = Literal["running", "done", "stopped", "failed", "interrupted"]
"""`interrupted`: the program ended while it ran; what had been saved by then is kept."""

EndState: TypeAlias = Literal["done", "stopped", "failed", "interrupted"]


@dataclass(slots=True, kw_only=True, eq=False)
class RunRecord:
    """A run: grows while it is executed, and is complete once it has ended.

    The text is kept here: screens and files show what the record has.
    """

    definition: EngineDefinition
    """The engine that was asked."""
    prompt: Prompt | None = None
    """The prompt that it answers; None for a run outside of any conversation."""
    continues: RunRecord | None = None
    """The run whose conversation it continues; None for the first."""
    spec: RunSpec | None = None
    """What was asked; None while it waits for the runs before it."""
    phase: RunPhase = "waiting"
    state: RunState = "running"
    finish: FinishReason | None = None
    error: ParagoneError | None = None
    """Why it failed."""
    cautions: list[Caution] = field(default_factory=list)
    settings: RunSettings | None = None
    """What was in force, as far as the engine tells."""
    loaded: LoadedModel | None = None
    """The model that answered, as it was open then."""
    progress: PromptProgress | None = None
    """How much of the prompt has been processed."""
    meter: Meter | None = None
    """Figures so far; None before the engine has the request, and for runs read from the history."""
    metrics: RunMetrics | None = None
    """The figures, once it has ended."""
    manifest: Mapping[str, Json] = field(default_factory=dict)
    """What another run needs to be the same."""
    tokens: list[Token] = field(default_factory=list)
    """The tokens with their log-probabilities and times, if the spec asks for log-probabilities."""
    started: float = field(default_factory=time.time)
    """Seconds since 1970."""
    ended: float | None = None
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
        """Append text that came, and tell the observers."""
        self._pieces[channel].append(text)
        self.tell(lambda it: it.text_came(self, channel, text))

    def subscribe(self, observer: RunObserver) -> None:
        """Tell this observer, from now on, what happens in the run."""
        self._observers.append(observer)

    def unsubscribe(self, observer: RunObserver) -> None:
        """Tell this observer no longer; one that was never told is fine."""
        if observer in self._observers:
            self._observers.remove(observer)

    def tell(self, what: Callable[[RunObserver], None]) -> None:
        """Tell all observers."""
        for observer in tuple(self._observers):
            try:
                what(observer)
            except Exception as error:  # noqa: BLE001 (its mistake costs neither the run nor the others)
                report("An observer of a run failed.", error)

    def changed(self) -> None:
        """Tell all observers that the phase or a figure changed."""
        self.tell(lambda it: it.run_changed(self))

    def _joined(self, channel: Channel) -> str:
        pieces = self._pieces[channel]
        if len(pieces) > 1:
            pieces[:] = ["".join(pieces)]
        return pieces[0] if pieces else ""
