"""The engines, models and demos on this machine and at servers: whether each can be opened, and if not, why."""

import asyncio
import contextlib
import dataclasses
import shlex
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from paragone import Backend, ModelInfo, ParagoneError, Probe, files, network, texts, threads
from paragone_workbench.config.settings import Config
from paragone_workbench.doctor import probe
from paragone_workbench.engines import definitions, questions
from paragone_workbench.engines.questions import NOTICE_S
from paragone_workbench.engines.registry import Registry
from paragone_workbench.models import (
    ConfiguredEndpoint,
    existing_demo_models,
    find_models,
    offered_model,
    query_endpoints,
)
from paragone_workbench.paths import accessible

_TIMEOUT = 10.0
"""Seconds that the search may take."""
_SHOWN = 3
"""Largest number of engine specs in a hint."""


async def engine_named_after_model(
    text: str, registry: Registry, folders: Sequence[str]
) -> definitions.EngineDefinition | None:
    """Return the engine of the only model with this name in these or the usual folders, of the first usable backend."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TIMEOUT):
            found = await _search(registry, lambda backend: _named(backend, text, folders))
            if len({model.model for _, model in found}) == 1:
                for backend, model in found:
                    if (await probe(backend)).usable:
                        return definitions.engine_for_model(backend.name, model.model, model.address)
    return None


async def hint_for(text: str, registry: Registry, folders: Sequence[str]) -> str:
    """Return a hint for a text that is the path or the name of a model in these or the usual folders; else empty."""
    path = Path(definitions.expand_home(text)).absolute()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TIMEOUT):
            if accessible(path) and (hint := await _hint_for_path(path, registry)):
                return hint
            found = await _search(registry, lambda backend: _named(backend, text, folders))
            if found:
                return f"To use a model of this name, write: {_listed(found)}"
    return ""


async def _hint_for_path(path: Path, registry: Registry) -> str:
    found = await _search(registry, lambda backend: _models_at(backend, path))
    able = [(backend, model) for backend, model in found if not model.problem]
    usable = [(backend, model) for backend, model in able if (await probe(backend)).usable]
    place = "in this folder" if path.is_dir() else "in this file"
    if usable:
        return f"To use the model {place}, write: {_listed(usable)}"
    if able:
        return f"Repair the backend as `paragone doctor` explains. Then, to use the model {place}, write: {_listed(able)}"
    if found:
        return f"The model {place} cannot be used: {found[0][1].problem.rstrip('.')}."
    if path.is_dir():
        return ""
    return "No backend finds a model in this file. `paragone doctor` shows which backends can be used."


async def _search(
    registry: Registry, models: Callable[[Backend], Awaitable[Sequence[ModelInfo]]]
) -> list[tuple[Backend, ModelInfo]]:
    async def search(backend: Backend) -> Sequence[ModelInfo]:
        try:
            return await models(backend)
        except (ParagoneError, OSError):
            return ()  # the user needs the error about the unknown engine instead

    backends = registry.all().values()
    answers = await asyncio.gather(*map(search, backends))
    return [(backend, model) for backend, answer in zip(backends, answers, strict=True) for model in answer]


async def _named(backend: Backend, name: str, folders: Sequence[str]) -> Sequence[ModelInfo]:
    models = [*(await find_models(backend, folders) or ())]
    with contextlib.suppress(ParagoneError):  # the demo is not installed
        models += await existing_demo_models(backend)
    usable = [model for model in models if not model.problem]
    return [
        model for model in usable if name in (model.name, definitions.engine_for_model("", model.model).name)
    ]


async def _models_at(backend: Backend, path: Path) -> Sequence[ModelInfo]:
    if not backend.capabilities.local:
        return ()
    if path.is_dir():
        if Path.home().is_relative_to(path):  # searching a folder that contains the home would take too long
            return ()
        return await questions.models(backend, [str(path)], usual=False)
    # A backend searches a folder with all its subfolders, so it gets a folder with only this file and the model's
    # other files.
    with tempfile.TemporaryDirectory() as folder:
        for part in path.parent.iterdir():
            if part.suffix == path.suffix and part.is_file():
                (Path(folder) / part.name).symlink_to(part)
        models = await questions.models(backend, [folder], usual=False)
        return [
            ModelInfo(name=model.name, model=str(path), problem=model.problem)
            for model in models
            if Path(model.model).name == path.name
        ]


def _listed(found: Sequence[tuple[Backend, ModelInfo]]) -> str:
    specs = [
        shlex.quote(
            definitions.to_spec(
                definitions.engine_for_model(backend.name, model.model, model.address), backend
            )
        )
        for backend, model in found
    ]
    return " or ".join(dict.fromkeys(specs[:_SHOWN]))


DEMO_KEY = "demo"


class Group(Enum):
    """The groups of entries, in the order of the list, with their headings."""

    CONFIGURED = "In config.toml"
    ADDED = "Added here"
    FOUND = "Models found"
    DEMO = "Demo"
    UNUSABLE = "Not usable yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """An engine, a model or the demo, usable or not; or a backend that cannot be used."""

    key: str
    """The identity of the entry, which stays the same when the entry moves to another group."""
    group: Group
    name: str
    detail: str = ""
    problem: str = ""
    """Why the entry cannot be used: a message, or the end of a message that begins with the name."""
    remedy: str = ""
    definition: definitions.EngineDefinition | None = None
    """The engine to open. None for the demo, which has two engines, and for a backend."""
    model: str = ""
    is_added: bool = False
    can_estimate: bool = False
    is_unasked: bool = False
    """Whether the entry is a backend with a server on this machine that was not asked for its models."""
    has_demo: bool = False

    @property
    def search_text(self) -> str:
        return f"{self.name} {self.detail} {self.model}".casefold()


async def catalog_entries(
    config: Config, registry: Registry, *, asks_servers: bool = False
) -> AsyncGenerator[Sequence[CatalogEntry], None]:
    """Yield the list several times: first the defined engines, then more as backends and servers reply. With
    `asks_servers`, servers on this machine that no engine names are asked too, unless paragone is offline."""
    catalog = _Catalog(config, asks_servers=asks_servers)
    yield catalog.entries()
    backends = catalog.backends = await asyncio.wrap_future(threads.in_daemon_thread(registry.all))
    defined = list(config.engines.values())
    wanted = {(name, None) for name in backends} | {(engine.backend, engine.python) for engine in defined}
    tasks = {
        asyncio.create_task(catalog.look(backend, python)): backend
        for name, python in sorted(wanted, key=str)
        if (backend := backends.get(name)) is not None
    }
    asking = asyncio.create_task(query_endpoints(defined, registry.find))
    try:
        pending = set(tasks)
        loop = asyncio.get_running_loop()
        notice = loop.time() + NOTICE_S
        while pending:
            left = notice - loop.time()
            done, pending = await asyncio.wait(
                pending, timeout=left if left > 0 else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()  # raises an unexpected exception: a bug in this module
            if loop.time() >= notice:
                catalog.waited = [tasks[task] for task in pending]
            yield catalog.entries()
        catalog.add_served(await asking)
        yield catalog.entries()
    finally:
        for started in (*tasks, asking):
            started.cancel()
        # wait, so that no subprocess of a probe outlives this generator
        await asyncio.gather(*tasks, asking, return_exceptions=True)


class _Catalog:
    def __init__(self, config: Config, *, asks_servers: bool) -> None:
        self.backends: Mapping[str, Backend] | None = None
        """The backends by name; None until the plugins are imported."""
        self._config = config
        self._asks_servers = asks_servers and not network.GUARD.is_offline
        self._probes: dict[tuple[str, str | None], Probe] = {}
        self._at_servers: dict[str, Probe] = {}
        """The reasons why defined engines cannot be used at their servers, by the engine's name."""
        self._memory: dict[str, str] = {}
        """A text on whether a defined engine's model is loaded at its server, by the engine's name."""
        self._found: dict[str, CatalogEntry] = {}
        """The entries of models, the demo and backends, by their keys."""
        self.waited: Sequence[Backend] = ()
        """The backends that have not answered after `NOTICE_S` seconds."""

    def entries(self) -> list[CatalogEntry]:
        """Return the entries by group. A model is skipped if a defined engine has the same model and no options."""
        order = list(Group)
        engines = self._config.engines.values()
        late = [_unusable_backend(backend, "Waiting for its plugin …", "") for backend in self.waited]
        waiting = {entry.key: entry for entry in late}
        found = [
            entry
            for entry in (waiting | self._found).values()
            if not any(_is_same(entry.definition, engine) for engine in engines)
        ]
        found.sort(key=lambda entry: (entry.definition is not None, entry.name.casefold()))
        entries = [*map(self._defined, engines), *found]
        return sorted(entries, key=lambda entry: order.index(entry.group))

    async def look(self, backend: Backend, python: str | None) -> None:
        """Probe a backend; if it is usable, add its models and its demo."""
        result = self._probes[backend.name, python] = await probe(backend, python)
        if python is not None:
            return
        if not result.usable:
            self._add(_unusable_backend(backend, result.reason, result.remedy))
            return
        # The demo comes first: the entry of a found model then replaces the demo's entry for the same file.
        has_demo = await self._look_for_demo(backend)
        try:
            folders = self._config.models.folders
            models = await find_models(backend, folders, asks_servers=self._asks_servers)
        except ParagoneError as error:
            self._add(_unusable_backend(backend, error.message, error.hint))
        else:
            for model in models or ():
                self._add(_model(backend, model))
            has_engines = any(engine.backend == backend.name for engine in self._config.engines.values())
            if models is None and not self._asks_servers:
                message = "Its server on this machine was not asked."
                self._add(dataclasses.replace(_unusable_backend(backend, message, ""), is_unasked=True))
            elif not models and not has_engines:
                message = "No model found except the demo's models." if has_demo else "No model found."
                place = (
                    "PATH, or set models.folders" if backend.capabilities.local else "MODEL@http://HOST:PORT"
                )
                self._add(_unusable_backend(backend, message, f"Write {backend.name}:{place}."))

    async def _look_for_demo(self, backend: Backend) -> bool:
        demo = CatalogEntry(
            key=DEMO_KEY,
            group=Group.DEMO,
            name="demo",
            detail="two small models side by side, for a first try",
        )
        try:
            models = await existing_demo_models(backend)
        except ParagoneError as error:
            unusable = dataclasses.replace(
                demo, group=Group.UNUSABLE, problem=error.message, remedy=error.hint
            )
            self._found.setdefault(DEMO_KEY, unusable)
            return False
        if models:
            self._add(demo)
        for model in models:
            entry = _model(backend, model)
            if entry.definition is not None:
                self._add(
                    dataclasses.replace(
                        entry,
                        group=Group.DEMO,
                        name=model.name,
                        detail=" · ".join((*_facts(model), backend.title)),
                        definition=dataclasses.replace(entry.definition, name=model.name),
                    )
                )
        return bool(models)

    def add_served(self, endpoints: Sequence[ConfiguredEndpoint]) -> None:
        """Add the models that the defined engines' servers report. A model that no engine names gets the options of
        the server's first engine."""
        for endpoint in endpoints:
            self._at_servers |= endpoint.problems
            if not endpoint.report.probe.usable:
                continue
            defined = [self._config.engines[name] for name in endpoint.engines]
            for definition in defined:
                model = offered_model(endpoint.report, definition.model)
                self._memory[definition.name] = "" if model is None else _memory(model)
            if endpoint.url is None:
                if self._asks_servers:
                    continue  # the backend itself has listed the models of its default server
                self._found.pop(_backend_key(endpoint.backend), None)  # an engine names this server
            known = {definition.model for definition in defined}
            for model in endpoint.report.models:
                if model.model not in known and not model.problem:
                    definition = dataclasses.replace(defined[0], name=model.name, model=model.model)
                    backend = (self.backends or {}).get(definition.backend)
                    entry = CatalogEntry(
                        key=f"model {definitions.to_spec(definition, backend)}",
                        group=Group.FOUND,
                        name=model.name,
                        detail=" · ".join((*_facts(model), endpoint.backend, endpoint.report.address)),
                        definition=definition,
                    )
                    self._add(entry)

    def _add(self, entry: CatalogEntry) -> None:
        self._found[entry.key] = entry

    def _defined(self, definition: definitions.EngineDefinition) -> CatalogEntry:
        backend = (self.backends or {}).get(definition.backend)
        found = self._at_servers.get(definition.name) or self._probes.get(
            (definition.backend, definition.python)
        )
        added = definition.name in self._config.added
        facts = (
            definition.backend,
            definitions.shorten_home(definition.model),
            definitions.server_of(definition, backend),
            self._memory.get(definition.name),
        )
        entry = CatalogEntry(
            key=f"engine {definition.name}",
            group=Group.ADDED if added else Group.CONFIGURED,
            name=definition.name,
            detail=" · ".join(filter(None, facts)),
            definition=definition,
            is_added=added,
            can_estimate=backend is not None and backend.capabilities.estimate,
        )
        if backend is None and self.backends is not None:
            return dataclasses.replace(
                entry, group=Group.UNUSABLE, problem=f"There is no backend {definition.backend!r}."
            )
        if found is not None and not found.usable:
            return dataclasses.replace(entry, group=Group.UNUSABLE, problem=found.reason, remedy=found.remedy)
        return entry


def _is_same(definition: definitions.EngineDefinition | None, other: definitions.EngineDefinition) -> bool:
    return definition is not None and dataclasses.replace(definition, name=other.name) == other


def _backend_key(name: str) -> str:
    return f"backend {name}"


def _unusable_backend(backend: Backend, problem: str, remedy: str) -> CatalogEntry:
    return CatalogEntry(
        key=_backend_key(backend.name),
        group=Group.UNUSABLE,
        name=backend.title,
        problem=problem,
        remedy=remedy,
        has_demo=type(backend).demo is not Backend.demo,
    )


def _model(backend: Backend, model: ModelInfo) -> CatalogEntry:
    definition = definitions.engine_for_model(backend.name, model.model, model.address)
    place = (
        (files.repository_of(model.model) or definitions.shorten_home(model.model))
        if backend.capabilities.local
        else ""
    )
    server = definitions.server_of(definition, backend)
    return CatalogEntry(
        key=f"model {definitions.to_spec(definition, backend)}",
        group=Group.UNUSABLE if model.problem else Group.FOUND,
        name=definition.name,
        detail=" · ".join(filter(None, (*_facts(model), backend.title, server, place))),
        problem=f"{model.problem.rstrip('.')}." if model.problem else "",
        definition=definition,
        model=model.model,
        can_estimate=backend.capabilities.estimate,
    )


def _facts(model: ModelInfo) -> Iterator[str]:
    yield from filter(None, (model.quantization, texts.size_text(model.size)))
    yield from (word for word in model.capabilities if word != "completion")
    if memory := _memory(model):
        yield memory


def _memory(model: ModelInfo) -> str:
    """Return a text on whether a model is in its server's memory; empty if unknown."""
    if model.is_loaded is None:
        return ""
    return "loaded" if model.is_loaded else "would be loaded"
