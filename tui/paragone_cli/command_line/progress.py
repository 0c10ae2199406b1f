"""Shows the progress of engines until there is output to print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paragone_cli.command_line.status_line import StatusLine
from paragone_workbench.engines.handle import EngineHandle, EngineObserver
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.run import Run

if TYPE_CHECKING:
    from paragone import Channel


class ProgressLine(StatusLine, EngineObserver, RunObserver):
    """A status line with the progress of loading, prompt processing and decoding."""

    def __init__(self, engines: Sequence[EngineHandle]) -> None:
        super().__init__()
        self._engines = engines
        self._runs: dict[int, Run] = {}
        if self.on:
            for engine in engines:
                engine.observers.append(self)

    def follow(self, number: int, run: Run) -> None:
        """Show the progress of this run for the engine with this index."""
        self._runs[number] = run
        if self.on:
            run.subscribe(self)

    def engine_changed(self, engine: EngineHandle) -> None:
        """Update the line."""
        self._update()

    def run_changed(self, run: Run) -> None:
        """Update the line."""
        self._update()

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        """Update the line."""
        self._update()

    def _update(self) -> None:
        """Update the line, at a limited rate."""
        if not self.due:
            return
        doing = [_activity(engine, self._runs.get(number)) for number, engine in enumerate(self._engines)]
        if len(doing) == 1:
            self.show(doing[0])
        else:
            named = zip(self._engines, doing, strict=True)
            self.show(" · ".join(f"{engine.definition.name}: {text}" for engine, text in named))


def _activity(engine: EngineHandle, run: Run | None) -> str:
    if run is not None and run.phase == "ended":
        return run.state
    if run is not None and run.silent_s:
        whom = "engine" if engine.is_local else "server"
        return f"no data from the {whom} for {run.silent_s} s, Ctrl+C stops"
    if run is not None and run.phase == "queued":
        return "waiting for the server"
    if run is not None and run.phase == "decode" and run.meter is not None:
        thinks = bool(run.thinking) and not run.text
        return f"{'thinking' if thinks else 'writing'}, {run.meter.tokens} tokens"
    if run is not None and run.phase == "prefill":
        if run.progress is not None and run.progress.total:
            return f"reading the prompt {run.progress.done / run.progress.total:.0%}"
        return "reading the prompt"
    if engine.state == "opening":
        return "loading" if engine.load_fraction is None else f"loading {engine.load_fraction:.0%}"
    return "waiting"
