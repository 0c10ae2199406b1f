"""Sheets about a lane: its details and its costs."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import ClassVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.binding import BindingType

from paragone import InputError
from paragone.texts import size_text
from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.modal import Sheet
from paragone_workbench import costs as ledger
from paragone_workbench.costs import Price, cost_notes, usd_text
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.runs.result import Costs


class AboutLane(Sheet):
    BINDINGS: ClassVar[list[BindingType]] = [closing_binding("about-lane")]

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self._lane = lane
        self.heading = one_line(lane.name)

    def parts(self) -> Iterator[Table]:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="dim")
        table.add_column(overflow="fold")
        for name, value in _known(self._lane):
            table.add_row(one_line(name), one_line(value))
        yield table


def _known(lane: Lane) -> Iterator[tuple[str, str]]:
    definition, loaded = lane.engine.definition, lane.engine.loaded
    backend = lane.engine.backend
    yield "engine", definition.name
    yield "backend", f"{definition.backend}{f', {backend.title}' if backend is not None else ''}"
    yield "model", definition.model
    if definition.python is not None:
        yield "python", definition.python
    if loaded is None:
        yield "", "It is not open."
        return
    facts = {
        "name": loaded.name,
        "architecture": loaded.architecture,
        "quantization": loaded.quantization,
        "size": size_text(loaded.size),
        "context": None if loaded.context is None else f"{loaded.context:,} tokens",
        "images": {True: "seen", False: "not seen", None: "its server does not report it"}[loaded.vision],
        **loaded.facts,
    }
    yield from ((name, value) for name, value in facts.items() if value)
    for caution in loaded.cautions:
        yield "!", caution.sentence


class CostsSheet(Sheet):
    """Shows a column for each engine. The prices appear later, because loading them takes a second."""

    BINDINGS: ClassVar[list[BindingType]] = [closing_binding("costs")]

    def __init__(self, lane: str, engines: Mapping[str, Costs]) -> None:
        super().__init__()
        self.heading = one_line(f"What {lane} cost in this conversation")
        self._total = Costs.total(engines.values())
        self._columns = {**engines, "total": self._total} if len(engines) > 1 else engines
        self._prices: tuple[Price, ...] = ()
        self._problem: list[str] = []

    def on_mount(self) -> None:
        self.run_worker(self._add_prices())

    async def _add_prices(self) -> None:
        try:
            self._prices = await asyncio.to_thread(ledger.price_list)
        except InputError as error:
            self._problem = [str(error)]
        if self.query("#sheet"):
            await self.scroll.remove_children()
        if self.query("#sheet"):  # the user may have closed the sheet meanwhile
            await self.scroll.mount_all(self.rendered_parts())

    def parts(self) -> Iterator[RenderableType]:
        each = self._columns.values()
        rows = [
            ("answers", [f"{costs.runs:,}" for costs in each]),
            ("tokens in", [f"{costs.prompt_tokens:,}" for costs in each]),
            ("from the cache", [f"{costs.cached_tokens:,}" for costs in each]),
            ("tokens out", [f"{costs.completion_tokens:,}" for costs in each]),
            ("time", [f"{costs.seconds:,.1f} s" for costs in each]),
            *(
                (one_line(f"at {price.name}"), [usd_text(price.of(costs)) for costs in each])
                for price in self._prices
            ),
        ]
        if len(self._columns) > 1:
            rows.insert(0, ("", [*map(one_line, self._columns)]))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="dim")
        for _ in each:
            table.add_column(overflow="fold", justify="right")
        for name, cells in rows:
            table.add_row(name, *cells)
        yield table
        for message in (*cost_notes(self._total, self._prices), *self._problem):
            yield Text(f"\n{one_line(message)}")
