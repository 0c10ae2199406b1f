"""A list of everything that a lane can run: engines of the config, and models that backends and servers have."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from paragone import Backend, ModelInfo, ParagoneError, Probe
from paragone.threads import in_daemon_thread
from paragone_workbench.config.settings import Config
from paragone_workbench.engines.definitions import EngineDefinition, engine_for_model, server_of
from paragone_workbench.engines.registry import Registry
from paragone_workbench.inventory.doctor import probe
from paragone_workbench.inventory.endpoints import ConfiguredEndpoint, query_endpoints
from paragone_workbench.inventory.models import find_models

__all__ = ["CatalogEntry", "catalog_entries", "size_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """An engine that can be picked, or a backend that cannot be used and the reason."""

    name: str
    detail: str = ""
    problem: str = ""
    """Why the engine cannot be used, and what to do about it."""
    definition: EngineDefinition | None = None
    """None if the entry cannot be picked."""

    @property
    def search_text(self) -> str:
        """The text that a filter searches, case-folded."""
        return f"{self.name} {self.detail}".casefold()


async def catalog_entries(config: Config, registry: Registry) -> AsyncGenerator[Sequence[CatalogEntry], None]:
    """Yield the entries several times: first the engines of the config, then more as backends and servers reply."""
    defined = list(config.engines.values())
    yield [CatalogEntry(name=it.name, detail=_detail(it, None), definition=it) for it in defined]
    backends = await asyncio.wrap_future(in_daemon_thread(registry.all))
    probes: dict[tuple[str, str | None], Probe] = {}
    found: dict[str, list[CatalogEntry]] = {}

    def all_entries() -> list[CatalogEntry]:
        mine = [
            _defined(it, registry.find(it.backend), probes.get((it.backend, it.python))) for it in defined
        ]
        others = [entry for name in backends for entry in found.get(name, [])]
        return mine + sorted(
            others, key=lambda entry: entry.definition is None
        )  # what can be picked comes first

    wanted = {(name, None) for name in backends} | {(it.backend, it.python) for it in defined}
    tasks = [
        asyncio.create_task(_look(backend, python, config.models.folders))
        for name, python in sorted(wanted, key=str)
        if (backend := backends.get(name)) is not None
    ]
    asking = asyncio.create_task(query_endpoints(defined, registry.find))
    yield all_entries()
    try:
        for task in asyncio.as_completed(tasks):
            backend, python, result, models = await task
            probes[backend.name, python] = result
            if python is None:
                found[backend.name] = _entries(backend, result, models)
            yield all_entries()
        served = [it for endpoint in await asking for it in _served(endpoint, config.engines)]
        if served:
            yield all_entries() + served
    finally:
        for it in (*tasks, asking):
            it.cancel()
        # wait, so that no subprocess of a probe outlives this generator
        await asyncio.gather(*tasks, asking, return_exceptions=True)


async def _look(
    backend: Backend, python: str | None, folders: Sequence[str]
) -> tuple[Backend, str | None, Probe, Sequence[ModelInfo]]:
    found = await probe(backend, python)
    models: Sequence[ModelInfo] = ()
    if found.usable and python is None:
        try:
            models = await find_models(backend, folders)
        except ParagoneError as error:
            found = Probe(usable=False, reason=error.sentence, remedy=error.hint)
    return backend, python, found, models


def _defined(definition: EngineDefinition, backend: Backend | None, probe: Probe | None) -> CatalogEntry:
    problem = ""
    if backend is None:
        problem = f"There is no backend {definition.backend!r}."
    elif probe is not None and not probe.usable:
        problem = f"{probe.reason} {probe.remedy}".strip()
    return CatalogEntry(
        name=definition.name, detail=_detail(definition, backend), problem=problem, definition=definition
    )


def _entries(backend: Backend, probe: Probe, models: Sequence[ModelInfo]) -> list[CatalogEntry]:
    if not probe.usable:
        problem = f"{probe.reason} {probe.remedy}".strip()
        return [CatalogEntry(name=backend.title, detail="not usable here", problem=problem)]
    return [_model(backend, it) for it in models] or [
        CatalogEntry(name=backend.title, detail=f"usable; {_usage_hint(backend)}")
    ]


def _served(endpoint: ConfiguredEndpoint, engines: Mapping[str, EngineDefinition]) -> Iterator[CatalogEntry]:
    """Yield the other models of a server that engines are defined for, with the options of the first such engine."""
    if endpoint.url is None or not endpoint.report.probe.usable:
        return  # the models of a backend's default server are listed by the backend
    defined = [engines[name] for name in endpoint.engines]
    known = {definition.model for definition in defined}
    for model in endpoint.report.models:
        if model.model not in known and not model.problem:
            definition = dataclasses.replace(defined[0], name=model.name, model=model.model)
            yield CatalogEntry(
                name=model.name,
                detail=" · ".join((*_facts(model), endpoint.backend, endpoint.report.address)),
                definition=definition,
            )


def _facts(model: ModelInfo) -> Iterator[str]:
    """Yield the known properties of a model, as text."""
    yield from filter(None, (model.quantization, size_text(model.size)))
    yield from (word for word in model.capabilities if word != "completion")


def _usage_hint(backend: Backend) -> str:
    if backend.capabilities.local:
        return f"write {backend.name}:PATH above, or set models.folders in config.toml"
    return f"write {backend.name}:MODEL@http://HOST:PORT above"


def _model(backend: Backend, model: ModelInfo) -> CatalogEntry:
    definition = engine_for_model(backend.name, model.model)
    return CatalogEntry(
        name=definition.name,
        detail=" · ".join((*_facts(model), backend.title, model.model)),
        problem=f"{model.problem[:1].upper()}{model.problem[1:]}." if model.problem else "",
        definition=None if model.problem else definition,
    )


def _detail(definition: EngineDefinition, backend: Backend | None) -> str:
    server = server_of(definition, backend)
    return " · ".join(filter(None, (definition.backend, definition.model, server)))


def size_text(size: int | None) -> str:
    """Return a number of bytes in a readable form: `98 MB`, `4.1 GB`; empty for None."""
    if size is None:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
