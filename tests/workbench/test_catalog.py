"""What the engine picker lists: engines of the config, models of backends and of configured servers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paragone import Backend, EndpointReport, ModelInfo, Options, Probe, option
from paragone_workbench.config.settings import Config
from paragone_workbench.config.toml_file import Document
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.inventory.catalog import catalog_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Options):
    url: str | None = option(None, "Where the server is.", address=True)
    key_env: str | None = option(None, "Variable with the key.")


class Served(Backend):
    """Stands in for a backend with servers: one of them is there."""

    name = "served"
    title = "Served"
    api_version = 2
    load_options = Load

    async def probe(self, python=None):
        return Probe(usable=True)

    async def models(self, folders):
        raise ZeroDivisionError("a plugin's mistake")

    async def open(self, request, on_progress):
        raise NotImplementedError

    async def endpoint(self, options):
        if options.get("url") != "http://box:1":
            return EndpointReport(address="http://gone:1", probe=Probe(usable=False, reason="It is gone."))
        models = (
            ModelInfo(model="small", name="small"),
            ModelInfo(
                model="large:70b", name="large:70b", size=4 * 10**9, capabilities=("completion", "vision")
            ),
            ModelInfo(model="odd", name="odd", problem="It does not generate text."),
        )
        return EndpointReport(address="http://box:1", probe=Probe(usable=True), models=models)


class Backends(Registry):
    """Stands in for the registry: it has this backend alone."""

    def all(self):
        return {"served": Served()}

    def find(self, name):
        return self.all().get(name)


def engine(name, url):
    options = {"url": url, "key_env": "KEY"}
    return EngineDefinition(name=name, backend="served", model="small", options=options)


async def test_a_server_s_other_models_are_offered_with_the_key_of_its_engine():
    engines = {it.name: it for it in (engine("mine", "http://box:1"), engine("off", "http://gone:1"))}
    config = Config(engines=engines, document=Document(Path("config.toml")))
    *_, last = [found async for found in catalog_entries(config, Backends())]
    large = last[-1]
    assert [it.name for it in last] == ["mine", "off", "Served", "large:70b"]
    assert large.detail == "4.0 GB · vision · served · http://box:1"
    assert large.definition == EngineDefinition(
        name="large:70b", backend="served", model="large:70b", options=engines["mine"].options
    )


async def test_a_plugin_s_mistake_costs_its_own_models():
    config = Config(engines={}, document=Document(Path("config.toml")))
    *_, (only,) = [found async for found in catalog_entries(config, Backends())]
    assert only.definition is None
    assert only.problem.startswith(
        "The backend served raised an unexpected error (ZeroDivisionError: a plugin's mistake)."
    )
