"""Shows the progress of engines until there is output to print."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from paragone_cli.status_line import StatusLine
from paragone_workbench.engines.handle import EngineHandle, EngineObserver
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.run import Run

__all__ = ["Progress"]


class Progress(EngineObserver, RunObserver):
    """A status line with the progress of loading, prompt processing and decoding.

    A context manager; the line is removed at the end of the block.
    """

    def __init__(self, engines: Sequence[EngineHandle]) -> None:
        self._engines = engines
        self._runs: dict[int, Run] = {}
        self._line = StatusLine()

    def follow(self, number: int, run: Run) -> None:
        """Show the progress of this run for the engine with this index."""
        self._runs[number] = run
        if self._line.on:
            run.subscribe(self)

    def __enter__(self) -> Progress:
        if self._line.on:
            for engine in self._engines:
                engine.observers.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def engine_changed(self, engine: EngineHandle) -> None:
        """Update the line."""
        self._show()

    def run_changed(self, run: Run) -> None:
        """Update the line."""
        self._show()

    def clear(self) -> None:
        """Remove the line until the next change, so that something else can be printed."""
        self._line.clear()

    def end(self) -> None:
        """Remove the line permanently."""
        self._line.end()

    def _show(self) -> None:
        """Update the line, at a limited rate."""
        if not self._line.due:
            return
        doing = [_activity(engine, self._runs.get(number)) for number, engine in enumerate(self._engines)]
        if len(doing) == 1:
            self._line.show(doing[0])
        else:
            named = zip(self._engines, doing, strict=True)
            self._line.show(" · ".join(f"{engine.definition.name}: {text}" for engine, text in named))


def _activity(engine: EngineHandle, run: Run | None) -> str:
    if run is not None and run.phase == "ended":
        return run.state
    if run is not None and run.silent_s:
        return f"no data from the server for {run.silent_s} s, Ctrl+C stops"
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
