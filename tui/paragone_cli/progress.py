"""What engines do before there is anything to print."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from paragone_cli.status_line import StatusLine
from paragone_workbench.engines.handle import EngineHandle, EngineObserver
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.record import RunRecord

__all__ = ["Progress"]


class Progress(EngineObserver, RunObserver):
    """A status line that says how far loading, reading and writing are; gone when it is left."""

    def __init__(self, engines: Sequence[EngineHandle]) -> None:
        self._engines = engines
        self._runs: dict[int, RunRecord] = {}
        self._line = StatusLine()

    def follow(self, number: int, run: RunRecord) -> None:
        """Show this run as that of the engine of this number."""
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
        """Paint."""
        self._show()

    def run_changed(self, run: RunRecord) -> None:
        """Paint."""
        self._show()

    def clear(self) -> None:
        """Take the line away until the next change: something else is to be printed."""
        self._line.clear()

    def end(self) -> None:
        """Take the line away for good."""
        self._line.end()

    def _show(self) -> None:
        """Paint, unless that was done a moment ago."""
        if not self._line.due:
            return
        doing = [_doing(engine, self._runs.get(number)) for number, engine in enumerate(self._engines)]
        if len(doing) == 1:
            self._line.show(doing[0])
        else:
            named = zip(self._engines, doing, strict=True)
            self._line.show(" · ".join(f"{engine.definition.name}: {text}" for engine, text in named))


def _doing(engine: EngineHandle, run: RunRecord | None) -> str:
    if run is not None and run.phase == "ended":
        return run.state
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
