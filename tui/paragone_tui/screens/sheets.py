"""Sheets that show text: a lane's details, costs, and the help."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.binding import BindingType

from paragone import InputError
from paragone.texts import size_text
from paragone_tui.commands import COMMANDS, GROUPS
from paragone_tui.keys import Keys, closing_binding, readable
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
        "images": {True: "seen", False: "not seen", None: "its server does not tell"}[loaded.vision],
        **loaded.facts,
    }
    yield from ((name, value) for name, value in facts.items() if value)
    for caution in loaded.cautions:
        yield "!", caution.sentence


class CostsSheet(Sheet):
    """Shows a column for each engine. The prices follow, because loading them takes a second."""

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
            await self.scroll.mount_all(self.texts())

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
        for sentence in (*cost_notes(self._total, self._prices), *self._problem):
            yield Text(f"\n{one_line(sentence)}")


_KEYS_CELLS = 16

ELSEWHERE: Mapping[str, Sequence[tuple[str, str]]] = {
    "Editing": [
        ("^a ^e ^left ^right", "Go to the start or the end of the line, or to the next word."),
        ("^k ^u ^w", "Delete to the end or the start of the line, or the word before."),
        ("^y", "Insert what these keys and alt+d have deleted."),
        ("^_ ^/", "Undo the last change of the prompt, also a recalled prompt."),
        ("^x ^v", "Cut what is selected; insert it."),
        ("/", "In an empty prompt: list the commands."),
    ],
    "Dialogs": [
        ("enter", "Pick the highlighted line."),
        ("^j ^k down up", "Move the highlight."),
        ("esc ^c", "Close the dialog."),
        ("tab", "Tick the highlighted engine, to open several side by side."),
        ("^x", "Remove the highlighted engine, or delete the conversation."),
        ("< >", "In the view of where answers part: show the previous or the next fork."),
        ("1 … 9", "In the list of conditions: level the difference with this number."),
        (
            "^underscore super+z",
            "Undo the last change of a text. Most terminals send ctrl+/ as the first key.",
        ),
        ("j k d u g G q", "Scroll and close a page of text, such as this one."),
    ],
    "Conversations": [
        (
            "tab shift+tab slash",
            "Go from the search to the list, and back. In the list, letters are commands.",
        ),
        ("p r t x", "Pin, rename, tag or delete the conversation."),
        ("e E i", "Export the conversation, or all; import conversations."),
        (
            "y n",
            "Confirm or cancel a deletion; allow the actions of an imported file, or do not import the file.",
        ),
    ],
    "Votes": [
        ("a … f 1 … 6", "Vote for this answer."),
        ("t x", "Vote that the answers are equally good, or all bad."),
        ("s u", "Skip without a vote; take back the last vote."),
        ("j k h l g G J K", "Scroll the answers; show more of them; scroll the prompt."),
        ("r", "Over an experiment: show the names of the last vote."),
    ],
    "Signs": [
        ("▸ ◆", "The current lane; the reference, with which the other lanes are compared."),
        ("≠", "Number of conditions that differed between the lanes."),
        ("▎ ┊", "A prompt; the model's thinking."),
        ("· ! ✗ →", "A remark, a warning, an error, and what to do."),
    ],
    "Mouse": [("wheel", "Scroll the lane under it. Shift and the mouse select text, as in any terminal.")],
}
"""Sections of the help on keys that cannot be changed, and on the screen's signs. Each row has keys or signs, and a meaning."""


class HelpScreen(Sheet):
    heading = "Help"

    def __init__(self, keys: Mapping[str, Keys], first: str = "") -> None:
        """Create the screen. The section with the title `first` comes first."""
        super().__init__()
        self._keys = keys
        self._first = first

    def parts(self) -> Iterator[RenderableType]:
        mode, write = self._keys["lane-mode"].first, readable(self._keys["write"].lane[:1])
        yield (
            f"{mode} leads from the prompt to lane mode, {write} leads back. In lane mode, letters and signs "
            "are commands; in the prompt, they are text. The last line of the screen shows the mode. In the prompt, a letter "
            "with alt, or right after esc, runs its command of lane mode, and you go on writing.\n"
        )
        yield self._table()
        yield (
            "\nThe names in the middle set keys in config.toml. Letters and signs are for lane mode:\n"
            '[keys]\nzoom = "f10,v"'
        )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(max_width=_KEYS_CELLS, style="bold")
        table.add_column(no_wrap=True, style="dim")
        table.add_column()
        sections = {
            group: [
                (readable(self._keys[command.id].all), command.id, command.help)
                for command in COMMANDS
                if command.group == group
            ]
            for group in GROUPS
        } | {title: [(keys, "", effect) for keys, effect in rows] for title, rows in ELSEWHERE.items()}
        for title in sorted(sections, key=lambda title: title != self._first):  # the rest stays in order
            table.add_row(Text(title, style="bold italic"))
            for row in sections[title]:
                table.add_row(*row)
        return table
