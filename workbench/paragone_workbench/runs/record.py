"""A run: one prompt answered by one lane, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paragone import Caution, Channel, FinishReason, Image, Json, ParagoneError
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.store import RunState, SavedRun

__all__ = ["Prompt", "Run"]


@dataclass(slots=True, kw_only=True, eq=False)
class Prompt:
    """What the user asked, once, of all lanes."""

    text: str
    images: tuple[Image, ...] = ()
    saved: int | None = None
    """Its id in the store, once it is there."""


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """One prompt answered by one lane: grows while it runs."""

    prompt: Prompt
    engine: str
    """The engine's name at the time."""
    backend: str
    """The engine's backend."""
    state: RunState = "running"
    finish: FinishReason | None = None
    error: ParagoneError | None = None
    cautions: list[Caution] = field(default_factory=list)
    metrics: RunMetrics | None = None
    manifest: Mapping[str, Json] = field(default_factory=dict)
    """What was asked of what, exactly."""
    _pieces: dict[Channel, list[str]] = field(default_factory=lambda: {"answer": [], "thinking": []})

    def add(self, channel: Channel, text: str) -> None:
        """Take up text that came."""
        self._pieces[channel].append(text)

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._joined("answer")

    @property
    def thinking(self) -> str:
        """What was thought so far."""
        return self._joined("thinking")

    def _joined(self, channel: Channel) -> str:
        pieces = self._pieces[channel]
        if len(pieces) > 1:
            pieces[:] = ["".join(pieces)]
        return pieces[0] if pieces else ""

    @classmethod
    def restored(cls, prompt: Prompt, saved: SavedRun) -> Run:
        """Return a run as the store has it. One that another copy of the program still runs ends here."""
        run = cls(
            prompt=prompt,
            engine=saved.engine,
            backend=saved.backend,
            state="interrupted" if saved.state == "running" else saved.state,
            finish=saved.finish,
            error=ParagoneError(saved.error) if saved.error else None,
            metrics=saved.metrics,
            manifest=saved.manifest,
        )
        run.add("answer", saved.text)
        run.add("thinking", saved.thinking)
        return run
