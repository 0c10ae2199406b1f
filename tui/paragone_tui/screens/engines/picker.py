"""The engine picker: engines of the config, models found on this machine, or one typed by the user."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from textual.content import Content
from textual.widgets.option_list import Option

from paragone import InputError
from paragone_tui.terminal.text import visible
from paragone_tui.widgets.picker import Picker, one_line
from paragone_workbench.config.settings import Config
from paragone_workbench.engines.definitions import EngineDefinition, from_spec
from paragone_workbench.engines.registry import Registry
from paragone_workbench.inventory.catalog import CatalogEntry, catalog_entries

__all__ = ["EnginePicker"]


class EnginePicker(Picker[EngineDefinition | None]):
    """Its result is the picked engine, or None."""

    heading = "Engine"
    placeholder = "Filter, or write one: BACKEND:MODEL"

    def __init__(self, config: Config, registry: Registry) -> None:
        super().__init__()
        self._config = config
        self._registry = registry
        self._entries: Sequence[CatalogEntry] = ()
        self._looking = True
        self._definitions: dict[str, EngineDefinition] = {}

    def on_mount(self) -> None:
        """Start to search for engines and models."""
        self.run_worker(self._look())

    async def _look(self) -> None:
        async with contextlib.aclosing(catalog_entries(self._config, self._registry)) as all_entries:
            async for self._entries in all_entries:
                self.show()
        self._looking = False
        self.show()

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the engine that the text specifies, if any, and the entries that contain all its words."""
        words = text.casefold().split()
        options: list[Option] = []
        self._definitions = {}
        trouble = ""
        try:
            written = from_spec(text)
        except InputError as error:
            written, trouble = None, str(error)
        if written is not None:
            self._definitions["written"] = written
            options.append(Option(Content.assemble(("Open ", "bold"), visible(text)), id="written"))
        for number, entry in enumerate(self._entries):
            if all(word in entry.search_text for word in words):
                if entry.definition is not None:
                    self._definitions[str(number)] = entry.definition
                options.append(Option(_line(entry), id=str(number), disabled=entry.definition is None))
        self.say(trouble or self._remark(bool(options)))
        return options

    def pick(self, option_id: str) -> None:
        """Close the picker with the engine."""
        self.dismiss(self._definitions.get(option_id))

    def _remark(self, found: bool) -> str:
        if self._looking:
            return "Looking for engines and models …"
        remarks = [f"The plugin {it.plugin} cannot be used: {it.reason}." for it in self._registry.problems]
        if not found:
            remarks.insert(0, "Nothing fits; an engine is written BACKEND:MODEL.")
        return "\n".join(remarks)


def _line(entry: CatalogEntry) -> Content:
    parts: Sequence[tuple[str, str]] = [
        (one_line(entry.name), "bold" if entry.definition else "dim"),
        (f"  {one_line(entry.detail)}", "dim"),
    ]
    if entry.problem:
        parts = [*parts, (f"\n  {visible(entry.problem)}", "$text-warning")]
    return Content.assemble(*parts)
