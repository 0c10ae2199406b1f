"""Shows the costs of a lane's answers: tokens, time, energy, and the price of the same tokens at providers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.binding import BindingType

from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.sheet import Sheet
from paragone_workbench.ledger.ledger import Ledger
from paragone_workbench.ledger.wording import energy_text, usd_text
from paragone_workbench.runs.costs import Costs

_FIGURES: dict[str, Callable[[Costs], str]] = {
    "answers": lambda costs: f"{costs.runs:,}",
    "tokens in": lambda costs: f"{costs.prompt_tokens:,}",
    "from the cache": lambda costs: f"{costs.cached_tokens:,}",
    "tokens out": lambda costs: f"{costs.completion_tokens:,}",
    "time": lambda costs: f"{costs.seconds:,.1f} s",
    "energy": energy_text,
}


class CostsSheet(Sheet):
    """Shows a ledger as a table with a column for each engine."""

    BINDINGS: ClassVar[list[BindingType]] = [closing_binding("costs")]

    def __init__(self, lane: str, ledger: Ledger) -> None:
        """Create the sheet. Prices may be added later with `show`."""
        super().__init__()
        self._ledger = ledger
        self._problem = ""
        self.heading = one_line(f"What {lane} cost in this conversation")

    async def show(self, ledger: Ledger, problem: str = "") -> None:
        """Show the ledger with prices, or without prices and with the problem that prevents them."""
        self._ledger, self._problem = ledger, problem
        if self.query("#sheet"):
            await self.scroll.remove_children()
        if self.query("#sheet"):  # the user may have closed the sheet meanwhile
            await self.scroll.mount_all(self.texts())

    def parts(self) -> Iterator[RenderableType]:
        """Yield the table and the sentences below it."""
        ledger = self._ledger
        columns = dict(ledger.engines)
        if len(columns) > 1:
            columns["total"] = ledger.total
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="dim")
        for _ in columns:
            table.add_column(overflow="fold", justify="right")
        if len(columns) > 1:
            table.add_row("", *map(one_line, columns))
        for name, figure in _FIGURES.items():
            table.add_row(name, *map(figure, columns.values()))
        for price in ledger.models:
            table.add_row(one_line(f"at {price.name}"), *map(usd_text, map(price.of, columns.values())))
        yield table
        for sentence in [*ledger.notes(), *([self._problem] if self._problem else [])]:
            yield Text(f"\n{one_line(sentence)}")
