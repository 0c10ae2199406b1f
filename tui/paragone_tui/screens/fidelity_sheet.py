"""Measures how far the lanes' models are from the reference lane's model, and shows the results."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.getters import query_one
from textual.widgets import Static

from paragone import ParagoneError
from paragone_tui.commands import Do
from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.modal import Sheet, hints
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.measure.fidelity import sample_text

if TYPE_CHECKING:
    from paragone_workbench.measure.fidelity import Fidelity, MeasurementStep

_BAR = 30


class FidelitySheet(Sheet):
    """Shows a measurement of fidelity. During the measurement, a key that closes the sheet stops the measurement instead."""

    BINDINGS: ClassVar[list[BindingType]] = [closing_binding("fidelity")]
    key_hints = (("j k", "scroll"), ("esc", "stop, and keep the results so far"))

    content = query_one("#sheet Static", Static)

    def __init__(self, lanes: Sequence[Lane], do: Do, save: Callable[[Fidelity], Awaitable[None]]) -> None:
        """Create a sheet that compares the open engines of the lanes with the first lane's engine. `save` saves the results."""
        super().__init__()
        self._lanes = lanes
        self._do = do
        self._save = save
        self._fidelity: Fidelity | None = None
        self._step: MeasurementStep | None = None
        self._measures = True
        self._is_stopped = False
        self._problem = ""
        self.heading = one_line(f"Distance from {lanes[0].name}")

    def on_mount(self) -> None:
        self._do(self._measure)

    def dismiss(self, result: None = None) -> AwaitComplete:
        if not self._measures:
            return super().dismiss(result)
        if not self._is_stopped:
            self._is_stopped = True
            if self._fidelity is not None:
                self._do(self._fidelity.stop)
        return AwaitComplete()

    def parts(self) -> Iterator[RenderableType]:
        yield self._text()

    async def _measure(self) -> None:
        try:
            self._fidelity = await asyncio.to_thread(_fidelity, self._lanes)  # loads NumPy and SciPy
            if not self._is_stopped:
                await self._fidelity.measure(self._begin)
            if self._fidelity.reference.windows:
                await self._save(self._fidelity)
        except ParagoneError as error:
            self._problem = str(error)
        finally:
            self._measures = False
            self._show()

    def _begin(self, step: MeasurementStep) -> None:
        self._step = step
        self._show()

    def _show(self) -> None:
        if self.is_attached:
            keys = self.key_hints if self._measures else (("j k", "scroll"), ("esc", "close"))
            self.scroll.border_subtitle = hints(keys)
            self.content.update(self._text())

    def _text(self) -> RenderableType:
        fidelity = self._fidelity
        parts: list[RenderableType] = [Text(self._state())]
        if fidelity is not None and fidelity.reference.windows:
            parts += _shown(fidelity, is_whole=not self._measures)
        if self._problem:
            parts.append(Text(one_line(self._problem)))
        return Group(*parts)

    def _state(self) -> str:
        fidelity, step = self._fidelity, self._step
        if not self._measures:
            count = fidelity.reference.windows if fidelity is not None else 0
            if fidelity is None or not count:
                return "Nothing was measured."
            partial = " (partial)" if fidelity.partial else ""
            return f"{count} of {fidelity.windows} windows of a short built-in text were measured{partial}."
        if step is None:
            return "Loading."
        filled = _BAR * step.done // step.total
        return f"{'█' * filled}{'░' * (_BAR - filled)} window {step.number} of {step.last}"


def _fidelity(lanes: Sequence[Lane]) -> Fidelity:
    from paragone_workbench.measure.fidelity import Fidelity

    reference, *candidates = (lane.engine for lane in lanes)
    fidelity = Fidelity(reference, candidates, sample_text())
    for lane, measured in zip(lanes, (fidelity.reference, *fidelity.candidates), strict=True):
        measured.name = lane.name
    return fidelity


def _shown(fidelity: Fidelity, *, is_whole: bool) -> Iterator[RenderableType]:
    """Yield the figures of a measurement; after its end, the conclusions too."""
    from paragone_workbench.measure.fidelity_verdict import fidelity_json
    from paragone_workbench.measure.sections import fidelity_problems, fidelity_sections

    data = fidelity_json(fidelity)
    for section in fidelity_sections(data):
        figures = section.tables[0]
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(overflow="fold")
        table.add_row(figures.first, *map(one_line, figures.columns), style="dim")
        for line in figures.lines:
            table.add_row(one_line(line.name), *(one_line(cell.text) for cell in line.cells))
        yield from (Text(), table, Text())
        if is_whole:
            remarks = (*section.remarks, *fidelity_problems(data))
            yield from (Text(one_line(remark.text)) for remark in remarks)
