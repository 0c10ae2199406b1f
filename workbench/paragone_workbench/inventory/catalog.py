"""What could be put in a lane: engines of the config, models that backends find, and what stands in the way."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from paragone import Backend, ModelInfo, Probe
from paragone_workbench.config.settings import Config
from paragone_workbench.engines.definitions import EngineDefinition, on_the_spot, server_of
from paragone_workbench.engines.error_boundary import as_told
from paragone_workbench.engines.registry import Registry
from paragone_workbench.inventory.doctor import probe
from paragone_workbench.inventory.endpoints import ConfiguredEndpoint, ask_endpoints

__all__ = ["Offer", "offers", "size_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An engine that can be picked, or a backend that cannot be used and why."""

    name: str
    detail: str = ""
    trouble: str = ""
    """Why it would not work, and what to do."""
    definition: EngineDefinition | None = None
    """None for what cannot be picked."""

    @property
    def searched(self) -> str:
        """What a filter looks in, in lower case."""
        return f"{self.name} {self.detail}".casefold()


async def offers(config: Config, registry: Registry) -> AsyncGenerator[Sequence[Offer], None]:
    """Yield what there is: at once the engines of the config, then with what backends and servers add."""
    defined = list(config.engines.values())
    yield [Offer(name=it.name, detail=_detail(it, None), definition=it) for it in defined]
    backends = await asyncio.to_thread(registry.all)
    probes: dict[tuple[str, str | None], Probe] = {}
    found: dict[str, list[Offer]] = {}

    def all_offers() -> list[Offer]:
        mine = [
            _defined(it, registry.find(it.backend), probes.get((it.backend, it.python))) for it in defined
        ]
        others = [offer for name in backends for offer in found.get(name, [])]
        return mine + sorted(
            others, key=lambda offer: offer.definition is None
        )  # what can be picked comes first

    wanted = {(name, None) for name in backends} | {(it.backend, it.python) for it in defined}
    tasks = [
        asyncio.create_task(_look(backend, python, config.models.folders))
        for name, python in sorted(wanted, key=str)
        if (backend := backends.get(name)) is not None
    ]
    asking = asyncio.create_task(ask_endpoints(defined, registry.find))
    yield all_offers()
    try:
        for task in asyncio.as_completed(tasks):
            backend, python, result, models = await task
            probes[backend.name, python] = result
            if python is None:
                found[backend.name] = _offered(backend, result, models)
            yield all_offers()
        served = [it for endpoint in await asking for it in _served(endpoint, config.engines)]
        if served:
            yield all_offers() + served
    finally:
        for it in (*tasks, asking):
            it.cancel()
        # what they started has ended when this has
        await asyncio.gather(*tasks, asking, return_exceptions=True)


async def _look(
    backend: Backend, python: str | None, folders: Sequence[str]
) -> tuple[Backend, str | None, Probe, Sequence[ModelInfo]]:
    found = await probe(backend, python)
    models: Sequence[ModelInfo] = ()
    if found.usable and python is None:
        try:
            models = await backend.models(folders)
        except Exception as error:  # noqa: BLE001 (a plugin's mistake leaves the others' models)
            told = as_told(error, backend.name)
            found = Probe(usable=False, reason=told.sentence, remedy=told.hint)
    return backend, python, found, models


def _defined(definition: EngineDefinition, backend: Backend | None, probe: Probe | None) -> Offer:
    trouble = ""
    if backend is None:
        trouble = f"There is no backend {definition.backend!r}."
    elif probe is not None and not probe.usable:
        trouble = f"{probe.reason} {probe.remedy}".strip()
    return Offer(
        name=definition.name, detail=_detail(definition, backend), trouble=trouble, definition=definition
    )


def _offered(backend: Backend, probe: Probe, models: Sequence[ModelInfo]) -> list[Offer]:
    if not probe.usable:
        trouble = f"{probe.reason} {probe.remedy}".strip()
        return [Offer(name=backend.title, detail="not usable here", trouble=trouble)]
    return [_model(backend, it) for it in models] or [
        Offer(name=backend.title, detail=f"usable; {_how(backend)}")
    ]


def _served(endpoint: ConfiguredEndpoint, engines: Mapping[str, EngineDefinition]) -> Iterator[Offer]:
    """Yield the models of a server that engines are defined for: as the first of those, with another model."""
    if endpoint.url is None or not endpoint.report.probe.usable:
        return  # the models of the place where a backend goes by itself are listed with it
    mine = [engines[name] for name in endpoint.engines]
    known = {definition.model for definition in mine}
    for model in endpoint.report.models:
        if model.model not in known and not model.problem:
            definition = dataclasses.replace(mine[0], name=model.name, model=model.model)
            yield Offer(
                name=model.name,
                detail=" · ".join((*_told(model), endpoint.backend, endpoint.report.address)),
                definition=definition,
            )


def _told(model: ModelInfo) -> Iterator[str]:
    """Yield what is known of a model, in words."""
    yield from filter(None, (model.quantization, size_text(model.size)))
    yield from (word for word in model.capabilities if word != "completion")


def _how(backend: Backend) -> str:
    if backend.capabilities.local:
        return f"write {backend.name}:PATH above, or name models.folders in config.toml"
    return f"write {backend.name}:MODEL@http://HOST:PORT above"


def _model(backend: Backend, model: ModelInfo) -> Offer:
    definition = on_the_spot(backend.name, model.model)
    return Offer(
        name=definition.name,
        detail=" · ".join((*_told(model), backend.title, model.model)),
        trouble=f"{model.problem[:1].upper()}{model.problem[1:]}." if model.problem else "",
        definition=None if model.problem else definition,
    )


def _detail(definition: EngineDefinition, backend: Backend | None) -> str:
    server = server_of(definition, backend)
    return " · ".join(filter(None, (definition.backend, definition.model, server)))


def size_text(size: int | None) -> str:
    """Return a size in bytes as people read it: `98 MB`, `4.1 GB`; empty where unknown."""
    if size is None:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
