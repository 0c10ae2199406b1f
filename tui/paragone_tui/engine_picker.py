"""Picking an engine: those of the config, models that were found, or one written on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.getters import query_one
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from paragone_tui.clean import visible
from paragone_tui.modal import Modal
from paragone_workbench.definitions import EngineDefinition, from_spec
from paragone_workbench.offers import Offer, offers
from paragone_workbench.registry import Registry
from paragone_workbench.settings import Config

__all__ = ["EnginePicker"]


class EnginePicker(Modal[EngineDefinition | None]):
    """Returns the engine that was picked, or None."""

    AUTO_FOCUS = "#filter"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "Close"),
        ("up", "move(-1)", "Up"),
        ("down", "move(1)", "Down"),
    ]
    CSS = """
    EnginePicker {
        align: center middle;
        #picker {
            width: 100; max-width: 100%; height: 24; max-height: 100%;
            border: round $primary; background: $surface;
        }
        Input { border: none; height: 1; padding: 0 1; background: $surface; }
        OptionList { border: none; height: 1fr; background: $surface; scrollbar-size-vertical: 1; }
        #checking, #nothing { height: auto; padding: 0 1; color: $text-muted; }
        #nothing { display: none; }
    }
    """

    words = query_one("#filter", Input)
    options = query_one(OptionList)
    nothing = query_one("#nothing", Static)
    checking = query_one("#checking", Static)

    def __init__(self, config: Config, registry: Registry) -> None:
        super().__init__()
        self._config = config
        self._registry = registry
        self._offers: list[Offer] = []
        self._definitions: dict[str, EngineDefinition] = {}

    def compose(self) -> ComposeResult:
        """A field to type in, and the list."""
        with Vertical(id="picker"):
            field = Input(
                placeholder="Filter, or write one: llama_cpp:PATH.gguf", id="filter", select_on_focus=False
            )
            field.cursor_blink = False
            yield field
            yield OptionList(markup=False)
            yield Static("Nothing fits; an engine is written BACKEND:MODEL.", id="nothing", markup=False)
            yield Static("Looking for engines and models …", id="checking", markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#picker").border_title = "Engine"
        self.run_worker(self._look())

    async def _look(self) -> None:
        async for found in offers(self._config, self._registry):
            if not self.is_attached:
                return  # it was closed meanwhile
            self._offers = list(found)
            self._show()
        missing = self._registry.problems
        self.checking.update(
            "\n".join(visible(f"The plugin {it.plugin} cannot be used: {it.reason}.") for it in missing)
        )
        self.checking.display = bool(missing)

    @on(Input.Changed)
    def _show(self) -> None:
        """List what fits the filter."""
        if not self.is_attached:
            return
        text = self.words.value.strip()
        words = text.casefold().split()
        options: list[Option] = []
        self._definitions = {}
        written = from_spec(text)
        if written is not None:
            self._definitions["written"] = written
            options.append(Option(Content.assemble(("Open ", "bold"), visible(text)), id="written"))
        for number, offer in enumerate(self._offers):
            if all(word in offer.searched for word in words):
                if offer.definition is not None:
                    self._definitions[str(number)] = offer.definition
                options.append(Option(_line(offer), id=str(number), disabled=offer.definition is None))
        self.nothing.display = not options
        kept = self.options.highlighted_option.id if self.options.highlighted_option else None
        self.options.clear_options()
        self.options.add_options(options)
        enabled = [number for number, option in enumerate(options) if not option.disabled]
        ids = [option.id for option in options]
        if enabled:
            again = ids.index(kept) if kept in ids else enabled[0]
            self.options.highlighted = again if again in enabled else enabled[0]

    def action_move(self, step: int) -> None:
        """Move the highlight."""
        if step < 0:
            self.options.action_cursor_up()
        else:
            self.options.action_cursor_down()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if self.options.highlighted is not None:
            self.options.action_select()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        definition = self._definitions.get(event.option_id or "")
        if definition is not None:
            self.dismiss(definition)


def _line(offer: Offer) -> Content:
    parts: Sequence[tuple[str, str]] = [
        (visible(offer.name).replace("\n", " "), "bold" if offer.definition else "dim"),
        (f"  {visible(offer.detail)}".replace("\n", " "), "dim"),
    ]
    if offer.trouble:
        parts = [*parts, (f"\n  {visible(offer.trouble)}", "$text-warning")]
    return Content.assemble(*parts)
