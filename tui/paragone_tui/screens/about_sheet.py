"""Shows the details of a lane's engine: the engine's definition, and the properties of the open model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.table import Table
from textual.binding import BindingType

from paragone.wording import size_text
from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.sheet import Sheet
from paragone_workbench.lanes.lane import Lane


class AboutLane(Sheet):
    """Shows the details of a lane's engine as a table."""

    BINDINGS: ClassVar[list[BindingType]] = [closing_binding("about-lane")]

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self._lane = lane
        self.heading = one_line(lane.name)

    def parts(self) -> Iterator[Table]:
        """Yield the table."""
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
        "images": {True: "seen", False: "not seen", None: "its server does not tell"}[loaded.vision],
        **loaded.facts,
    }
    yield from ((name, value) for name, value in facts.items() if value)
    for caution in loaded.cautions:
        yield "!", caution.sentence
