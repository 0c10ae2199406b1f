"""The engine picker: offers defined engines, models found on this machine, the demo, and an engine that the user writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from paragone import Backend, InputError, ParagoneError
from paragone.network import GUARD
from paragone.texts import counted, shortened, size_text
from paragone_tui.key_order import LIST
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.picker import Picker
from paragone_workbench.catalog import DEMO_KEY, CatalogEntry, Group, catalog_entries
from paragone_workbench.engines.definitions import EngineDefinition, expand_home, from_spec
from paragone_workbench.measure.fit import MemoryPlanner
from paragone_workbench.paths import accessible

if TYPE_CHECKING:
    from paragone_tui.engine_list import EngineList

_WRITTEN = "written"
_FOLDER = "folder"
_MEMORY = "memory"
"""The name of the workers that estimate memory."""
_PADDING = 2
"""Number of cells beside the text of a row."""
_SHORTEST_REASON = 8
"""Smallest width in cells of a reason that is shortened because the remedy beside it is long."""
_PAUSE = 0.3
"""Seconds that an entry must be highlighted before a process starts to estimate the entry's memory."""


Picked: TypeAlias = "tuple[EngineDefinition | None, bool]"
"""An engine (None for the demo), and whether to save it once it is open: if the user wrote it, or ticked a found model."""


class EnginePicker(Picker["Sequence[Picked] | None"]):
    """The dialog to pick engines. The result of the picker is the list of engines that the user picked, or None.

    `engines` are the defined engines. `single`: whether the user picks only one engine. Then entries cannot be ticked,
    and the demo, which has two engines, is not offered. The picker shows `advice` while there is no other remark.
    """

    heading = "Engine"
    placeholder = "Type to filter, or write an engine (BACKEND:MODEL) or a folder"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+x", "remove", "Remove", priority=True),
        Binding("ctrl+s", "ask_servers", "Ask local servers", priority=True),
        Binding("tab", "tick", "Tick", priority=True),
    ]
    DEFAULT_CSS = "EnginePicker OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, engines: EngineList, *, single: bool = False, advice: str = "") -> None:
        super().__init__()
        self._engines = engines
        self._registry = engines.session.registry
        self._advice = advice
        self._entries: dict[str, CatalogEntry] = {}
        self._single = single
        self._hidden = {DEMO_KEY} if single else set()
        self._ticked: set[str] = set()
        self._written: EngineDefinition | None = None
        self._folders: list[Path] = []
        """The folders that the user wrote, whose models are listed."""
        self._problem = ""
        """Why the engine that the user wrote is invalid; empty if it is valid."""
        self._memory: dict[str, str] = {}
        """The finished estimates of the memory that entries need, by the entries' keys."""
        self._estimated = ""
        """The key of the entry whose memory is being estimated; empty if there is no such entry."""

    @property
    def early_keys(self) -> tuple[str, ...]:
        """Enter immediately opens an engine that the user wrote or that is defined: these are listed before the others."""
        entry = self._highlighted
        is_first = self.highlighted == _WRITTEN or (
            entry is not None and entry.group in (Group.CONFIGURED, Group.ADDED)
        )
        return (*super().early_keys, "enter") if is_first else super().early_keys

    def on_mount(self) -> None:
        self.offer(
            [
                *self.key_hints[:1],
                *([] if self._single else [("tab", "tick")]),
                *self.key_hints[1:],
                *([] if GUARD.is_offline else [("^s", "ask local servers")]),
            ]
        )
        self._begin_to_look()

    def on_resize(self) -> None:
        self.show()

    def _begin_to_look(self) -> None:
        self.is_looking = True
        self.run_worker(self._look(), group=LIST, exclusive=True)

    async def _look(self) -> None:
        config = self._engines.config
        models = replace(config.models, folders=(*config.models.folders, *map(str, self._folders)))
        searched = catalog_entries(
            replace(config, models=models), self._registry, asks_servers=self._engines.asks_servers
        )
        async with contextlib.aclosing(searched) as all_entries:
            async for entries in all_entries:
                self._entries = {entry.key: entry for entry in entries if entry.key not in self._hidden}
                self.show()
        self.is_looking = False
        self.show()

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the engine that the text specifies, if there is one, and the entries that contain all words, by group."""
        words, folder = text.casefold().split(), _folder(text)
        options: list[Option] = []
        self._problem = ""
        try:
            self._written = from_spec(text)
        except InputError as error:
            self._written, self._problem = None, str(error)
        if self._written is not None:
            options.append(Option(Content.assemble(("Open ", "bold"), visible(text)), id=_WRITTEN))
        elif folder is not None:
            self._problem = ""
            if folder not in self._folders:
                options.append(
                    Option(Content.assemble(("Look for models in ", "bold"), visible(text)), id=_FOLDER)
                )
        width = self.options.scrollable_content_region.width - _PADDING
        group: Group | None = None
        for entry in self._entries.values():
            is_there = folder is not None and Path(entry.model).is_relative_to(folder)
            if is_there or all(word in entry.search_text for word in words):
                if entry.group is not group:
                    group = entry.group
                    options.append(Option(Content.assemble((group.value, "$primary")), disabled=True))
                options.append(
                    Option(_entry_row(entry, width, is_ticked=entry.key in self._ticked), id=entry.key)
                )
        return options

    def is_offered(self, option_id: str) -> bool:
        entry = self._entries.get(option_id)
        return entry is None or entry.group is not Group.UNUSABLE

    def pick(self, option_id: str) -> None:
        """Close the picker with the ticked entries or, if no entry is ticked, with the entry of this option. If the
        entry cannot be used, the picker stays open, and shows why."""
        ticked = [entry for entry in self._entries.values() if entry.key in self._ticked]
        entry = self._entries.get(option_id)
        if option_id == _WRITTEN:
            self.dismiss([(self._written, True)])
        elif option_id == _FOLDER:
            self._folders += filter(None, [_folder(self.words.value)])
            self._begin_to_look()
            self.show()
        elif ticked:
            self.dismiss([(one.definition, one.group is Group.FOUND) for one in ticked])
        elif entry is not None and self.is_offered(option_id):
            self.dismiss([(entry.definition, False)])

    def action_tick(self) -> None:
        entry = self._highlighted
        if self._single or entry is None or entry.definition is None or not self.is_offered(entry.key):
            return
        self._ticked ^= {entry.key}
        self.show()
        self.action_move(1)

    def action_remove(self) -> None:
        entry = self._highlighted
        if entry is not None and entry.is_added and self._engines.remove(entry.name):
            self._hidden.add(entry.key)
            del self._entries[entry.key]
            self.show()

    def action_ask_servers(self) -> None:
        """Ask the servers on this machine for their models, now and in all later pickers until the program ends."""
        if not GUARD.is_offline:
            self._engines.asks_servers = True
            self._begin_to_look()
            self.show()

    @property
    def _highlighted(self) -> CatalogEntry | None:
        return self._entries.get(self.highlighted)

    def describe(self) -> None:
        """Show the problem with the text or the highlighted entry, else advice; and the entry's memory."""
        entry = self._highlighted
        name = "" if entry is None else one_line(entry.name)
        remarks: list[str] = []
        if self._problem:
            remarks = [self._problem]
        elif entry is not None and (entry.problem or entry.is_added):
            if entry.problem:
                named = "" if entry.problem.startswith(entry.name) else f"{name}: "
                remedy = _how_to_ask() if entry.is_unasked else one_line(entry.remedy)
                remarks = [f"{named}{one_line(entry.problem)} {remedy}".rstrip()]
            remarks += [f"^x removes {name} from this list."] if entry.is_added else []
        elif self._ticked:
            count = counted(len(self._ticked), "engine")
            remarks = [f"Enter opens {count} side by side, and saves new ones."]
        else:
            own = any(
                entry.group is not Group.DEMO and self.is_offered(entry.key)
                for entry in self._entries.values()
            )
            remarks = [self._progress(), self._advice if own else ""]
        if entry is not None and not (entry.can_estimate and self.is_offered(entry.key)):
            entry = None
        if entry is not None:
            remarks.append(self._memory.get(entry.key, "Estimating the memory …"))
        if entry is None or entry.key != self._estimated:
            self._estimated = ""
            self.workers.cancel_group(self, _MEMORY)
            if entry is not None and entry.key not in self._memory:
                self._estimated = entry.key
                self.run_worker(self._estimate(entry), group=_MEMORY)
        self.say("\n".join(filter(None, remarks)))

    async def _estimate(self, entry: CatalogEntry) -> None:
        await asyncio.sleep(_PAUSE)
        backend = self._registry.find(entry.definition.backend) if entry.definition is not None else None
        if entry.definition is not None and backend is not None:
            self._memory[entry.key] = await _memory_remark(entry.definition, backend)
        self._estimated = ""
        self._describe()

    def _progress(self) -> str:
        if self.is_looking:
            return "Looking for engines and models …"
        remarks = [
            f"The plugin {problem.plugin} cannot be used: {problem.reason}."
            for problem in self._registry.problems
        ]
        unasked = ", ".join(entry.name for entry in self._entries.values() if entry.is_unasked)
        if unasked:
            remarks.append(
                f"Servers on this machine were not asked for models ({one_line(unasked)}). {_how_to_ask()}"
            )
        offered = [entry for entry in self._entries.values() if self.is_offered(entry.key)]
        if not self.options.option_count:
            remarks.insert(0, "No entry matches. Write an engine as BACKEND:MODEL, or a folder with models.")
        elif all(entry.group is Group.DEMO for entry in offered):
            missing = (entry for entry in self._entries.values() if entry.has_demo and entry.remedy)
            remarks = [
                _next_steps(None if offered else next(missing, None)),
                *remarks[: len(self._registry.problems)],
            ]
        return "\n".join(remarks)


def _next_steps(demo: CatalogEntry | None) -> str:
    """Return four lines of advice for a user without an engine of their own.

    `demo` is the entry of the demo's backend if that backend is missing.
    """
    begin = "the demo above" if demo is None else f"{demo.name}. {demo.remedy}"
    asks = "" if GUARD.is_offline else "^s asks Ollama on this machine; or "
    return "\n".join(
        [
            "No engine of your own is here yet. Begin with one of these:",
            f"· two small models, to try it: {one_line(begin)}",
            "· models on this machine: write their folder above, or put them into ~/models",
            f"· a server: {asks}write ollama:MODEL@http://HOST:PORT above",
        ]
    )


def _folder(text: str) -> Path | None:
    """Return the folder that a text names by its path, unless it contains the home folder, which is too much to search."""
    if not text.startswith(("/", "~", ".")):
        return None
    path = Path(expand_home(text.strip())).absolute()
    return path if accessible(path) and path.is_dir() and not Path.home().is_relative_to(path) else None


def _how_to_ask() -> str:
    return "paragone is offline." if GUARD.is_offline else "^s asks."


def _entry_row(entry: CatalogEntry, width: int, *, is_ticked: bool) -> Content:
    """Return the row of an entry: bold if usable, else dim and with the reason, which is cut to fit into `width` cells."""
    name = one_line(entry.name)
    if entry.group is not Group.UNUSABLE:
        return Content.assemble(
            (f"{'✓' if is_ticked else ' '} {name}", "bold"), (f"  {one_line(entry.detail)}", "dim")
        )
    room = width - len(name) - 4
    return Content.assemble(
        (f"  {name}  {_reason(one_line(entry.problem), one_line(entry.remedy), room)}", "dim")
    )


def _reason(reason: str, remedy: str, room: int) -> str:
    """Return the reason and the remedy. Cut the reason if both exceed `room` cells, so that the remedy stays visible."""
    if not remedy:
        return reason
    return f"{shortened(reason, max(_SHORTEST_REASON, room - len(remedy) - 1))} {remedy}"


async def _memory_remark(definition: EngineDefinition, backend: Backend) -> str:
    """Return how much memory an engine needs, whether it fits, and the largest context; or why that is unknown."""
    try:
        planner = MemoryPlanner(definition, backend)
        plan = await planner.plan()
        largest = await planner.largest_context(plan)
    except ParagoneError as error:
        return f"The memory cannot be estimated: {one_line(error.message)}"
    weights = size_text(sum(device.weights for device in plan.devices))
    cache = size_text(sum(device.kv_cache for device in plan.devices))
    compute = size_text(sum(device.compute for device in plan.devices))
    free = " and ".join(size_text(device.free) for device in plan.devices if device.free is not None)
    verdict = {True: "Fits:", False: "Does not fit:", None: "Needs"}[plan.fits]
    of = f" of {free} free" if free else ""
    context = f"; context up to {largest:,}" if largest else ""
    parts = f"weights {weights}, KV cache {cache}, compute {compute}"
    return f"{verdict} {size_text(plan.needed)}{of} ({parts}){context}."
