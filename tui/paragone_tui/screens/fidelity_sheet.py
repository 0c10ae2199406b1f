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
from paragone.texts import size_text
from paragone_tui.commands import Do
from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.modal import Sheet, hints
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.measure.fidelity import sample_text
from paragone_workbench.measure.fidelity_verdict import kld_text, scale_text
from paragone_workbench.statistics import number

if TYPE_CHECKING:
    from paragone_workbench.measure.fidelity import Fidelity, MeasurementStep

_BAR = 30


class FidelitySheet(Sheet):
    """Shows a measurement of fidelity. During the measurement, a key that closes the sheet stops the measurement instead."""

    BINDINGS: ClassVar[list[BindingType]] = [closing_binding("fidelity")]
    key_hints = (("j k", "scroll"), ("esc", "stop, and keep what was measured"))

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
        self.heading = one_line(f"How far from {lanes[0].name}")

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
            parts += [Text(), _table(fidelity), Text()]
            if not self._measures:
                parts += [Text(one_line(sentence)) for sentence in _sentences(fidelity)]
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
            return f"{count} of {fidelity.windows} windows of a short text that comes with paragone were measured{partial}."
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


def _table(fidelity: Fidelity) -> Table:
    from paragone_workbench.measure.fidelity_results import mean

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    for _ in range(4):
        table.add_column(no_wrap=True)
    table.add_row("", "weights", "mean KLD", "same top token", "bits per byte", style="dim")
    differences = [None, *(candidate.difference for candidate in fidelity.candidates), fidelity.noise]
    engines = [fidelity.reference, *fidelity.candidates, None]
    for measured, difference in zip(engines, differences, strict=True):
        kld = mean(difference.kld) if difference is not None else None
        same = mean(difference.same_top) if difference is not None else None
        bits = measured.bits_per_byte(fidelity.text_bytes) if measured is not None else None
        table.add_row(
            "noise floor" if measured is None else one_line(measured.name),
            size_text(measured.size) if measured is not None else "",
            "reference" if difference is None else "" if kld is None else kld_text(kld),
            "" if same is None else f"{same.value:.1%}",
            "" if bits is None else number(bits),
        )
    return table


def _sentences(fidelity: Fidelity) -> Iterator[str]:
    from paragone_workbench.measure import fidelity_verdict

    for candidate, depth in zip(fidelity.candidates, fidelity_verdict.depths_of(fidelity), strict=True):
        found = (
            candidate.reason,
            fidelity_verdict.unchanged(candidate, fidelity) or fidelity_verdict.verdict(candidate, fidelity),
            f"{candidate.name}: {depth.sentence}" if depth.sentence else "",
            f"{candidate.name}: {candidate.error}" if candidate.error is not None else "",
        )
        yield from filter(None, found)
    for pair in fidelity_verdict.neighbours(
        fidelity_verdict.kld_pairs(fidelity.candidates), fidelity.candidates
    ):
        yield pair.sentence
    if any(candidate.difference.windows for candidate in fidelity.candidates):
        yield f"Scale of the mean KLD: {scale_text()}."
    elif not any(candidate.windows or candidate.top for candidate in fidelity.candidates):
        yield "No candidate was measured."
