"""The catalog: defined engines, models of backends and servers, the demo, and why an entry is unusable."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.workbench.conftest import Backends

from paragone import Backend, Capabilities, EndpointReport, InputError, ModelInfo, Options, Probe, option
from paragone.network import GUARD
from paragone_workbench.catalog import Group, catalog_entries
from paragone_workbench.config.settings import Config, ModelSettings
from paragone_workbench.config.toml_file import TomlDocument
from paragone_workbench.engines.definitions import EngineDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Options):
    url: str | None = option(None, "Where the server is.", address=True)
    key_env: str | None = option(None, "Variable with the key.")


class Served(Backend):
    """A test double of a backend with servers, one of which is reachable."""

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


class Shelf(Backend):
    """A test double: a backend of this machine, with a folder of its own and a demo."""

    name = "shelf"
    title = "Shelf"
    api_version = 2
    capabilities = Capabilities(local=True)

    def __init__(self, *, usable: bool = True, has_demo: bool = True, empty: bool = False) -> None:
        self.usable = usable
        self.has_demo = has_demo
        self.empty = empty
        self.searched: list[str] = []

    async def probe(self, python=None):
        return Probe(usable=self.usable, reason="It is not installed.", remedy="Install it.")

    def model_folders(self):
        return ["/shelf"]

    async def models(self, folders):
        self.searched = list(folders)
        if self.empty:
            return ()
        hub = "/hub/models--owner--tall/snapshots/0123/tall.gguf"
        return (
            ModelInfo(
                model=f"{Path.home()}/models/Wide.gguf", name="Wide", quantization="Q4_K_M", size=10**8
            ),
            ModelInfo(model=hub, name="owner/tall/tall"),
            ModelInfo(model="/models/broken.gguf", name="broken", problem="is empty"),
        )

    async def open(self, request, on_progress):
        raise NotImplementedError

    async def demo(self, cache, *, create=True):
        assert not create, "a list makes nothing"
        if not self.has_demo:
            raise InputError("The demo is not installed.", hint="Install the demo.")
        return (ModelInfo(model="/cache/demo.gguf", name="tiny", quantization="Q3_K_M"),)


def config(*engines, added=(), folders=()):
    return Config(
        engines={it.name: it for it in engines},
        added=frozenset(added),
        models=ModelSettings(folders=tuple(folders)),
        document=TomlDocument(Path("config.toml")),
    )


async def listed(settings, *backends):
    """The entries once everything has replied."""
    *_, last = [found async for found in catalog_entries(settings, Backends(*backends))]
    return last


def engine(name, url):
    options = {"url": url, "key_env": "KEY"}
    return EngineDefinition(name=name, backend="served", model="small", options=options)


async def test_other_models_of_a_server_are_offered_with_the_key_of_its_engine():
    mine = engine("mine", "http://box:1")
    found = await listed(config(mine, engine("off", "http://gone:1")), Served())
    assert [it.name for it in found] == ["mine", "large:70b", "off", "Served"]
    large = found[1]
    assert large.detail == "4.0 GB · vision · served · http://box:1"
    assert large.definition == EngineDefinition(
        name="large:70b", backend="served", model="large:70b", options=mine.options
    )


async def test_usable_entries_come_first_in_a_stable_order():
    configured = EngineDefinition(name="zeta", backend="shelf", model="/z")
    added = EngineDefinition(name="alpha", backend="shelf", model="/a")
    strange = EngineDefinition(name="strange", backend="nothing_such", model="x")
    settings = config(strange, configured, added, added=["alpha"])
    found = await listed(settings, Served(), Shelf())
    assert [(it.group, it.name) for it in found] == [
        (Group.CONFIGURED, "zeta"),
        (Group.ADDED, "alpha"),
        (Group.FOUND, "tall"),
        (Group.FOUND, "Wide"),
        (Group.DEMO, "demo"),
        (Group.DEMO, "tiny"),
        (Group.UNUSABLE, "strange"),
        (Group.UNUSABLE, "Served"),
        (Group.UNUSABLE, "broken"),
    ]
    assert found == await listed(settings, Served(), Shelf())
    assert len({it.key for it in found}) == len(found)


async def test_an_entry_shows_a_models_details_and_place(home):
    found = {it.name: it for it in await listed(config(), Shelf())}
    assert found["Wide"].detail == "Q4_K_M · 100 MB · Shelf · ~/models/Wide.gguf"
    assert found["tall"].detail == "Shelf · owner/tall"
    assert found["tiny"].detail == "Q3_K_M · Shelf"
    assert found["tiny"].definition == EngineDefinition(
        name="tiny", backend="shelf", model="/cache/demo.gguf"
    )
    assert found["broken"].problem == "is empty."


async def test_without_models_the_list_explains_how_to_name_one():
    found = await listed(config(), Shelf(empty=True, has_demo=False))
    assert [(it.name, it.group, it.problem, it.remedy) for it in found] == [
        ("demo", Group.UNUSABLE, "The demo is not installed.", "Install the demo."),
        (
            "Shelf",
            Group.UNUSABLE,
            "No model found.",
            "Write shelf:PATH, or set models.folders.",
        ),
    ]


class Here(Served):
    """A test double of a backend with a server on this machine, which lists its models."""

    name = "here"
    title = "Here"
    asked = 0

    def reaches(self, model, options):
        return ("http://127.0.0.1:1",)

    async def models(self, folders):
        self.asked += 1
        return [ModelInfo(model="small", name="small")]


@pytest.mark.parametrize(("asks", "offline"), [(True, False), (True, True)])
async def test_servers_on_this_machine_are_asked_only_with_permission(monkeypatch, asks, offline):
    monkeypatch.setattr(GUARD, "is_offline", offline)
    here = Here()
    *_, found = [it async for it in catalog_entries(config(), Backends(here), asks_servers=asks)]
    is_asked = asks and not offline
    assert here.asked == is_asked
    (entry,) = found
    assert (entry.name, entry.is_unasked) == (("small", False) if is_asked else ("Here", True))
