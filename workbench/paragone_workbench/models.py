"""The models in folders on this machine and at servers, and the models of the demo."""

import asyncio
import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from paragone import Backend, EndpointReport, InputError, Json, ModelInfo, ParagoneError, Probe
from paragone.network import GUARD
from paragone.options import address_option
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import BackendLookup, EngineDefinition, load_and_sampling_options
from paragone_workbench.engines.registry import Registry, name_reached, reached
from paragone_workbench.paths import cache_folder, private_folder

_NAMED = 20
"""Largest number of a server's models that a message lists."""
_COMPARED = 1_000
"""Largest number of a server's models that are searched for a similar name."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredEndpoint:
    backend: str
    engines: tuple[str, ...]
    url: str | None
    """The URL in the options of the first of these engines; None for the backend's default server."""
    report: EndpointReport
    problems: Mapping[str, Probe] = field(default_factory=dict)
    """The reasons why engines cannot be used at this server, as probes, by the engines' names."""


async def query_endpoints(
    definitions: Iterable[EngineDefinition], backend: BackendLookup
) -> tuple[ConfiguredEndpoint, ...]:
    """Query the engines' servers concurrently; never raises. Engines with the same report from one server share an endpoint."""
    asked: dict[tuple[str, str], tuple[Backend, Mapping[str, Json], list[EngineDefinition]]] = {}
    for definition in definitions:
        found = backend(definition.backend)
        if found is None:
            continue
        try:
            options, _ = load_and_sampling_options(definition, found)
        except InputError:
            continue
        key = (definition.backend, json.dumps(options, sort_keys=True))
        asked.setdefault(key, (found, options, []))[2].append(definition)
    reports = await asyncio.gather(*(_ask(found, load, engines) for found, load, engines in asked.values()))
    merged: dict[object, ConfiguredEndpoint] = {}
    for (key, (found, load, engines)), report in zip(asked.items(), reports, strict=True):
        if report is None:
            continue
        # with another key or certificate, the same server may report differently
        server = normalize_url(report.address) if report.address else key[1]
        reason = report.probe.reason.replace(report.address, "")
        identity = (key[0], server, report.probe.usable, reason, report.models)
        first = merged.get(identity) or ConfiguredEndpoint(
            backend=key[0], engines=(), url=_address(found, load), report=report
        )
        probes = {engine.name: _probe_of(engine, report) for engine in engines}
        merged[identity] = dataclasses.replace(
            first,
            engines=(*first.engines, *(engine.name for engine in engines)),
            problems={
                **first.problems,
                **{name: probe for name, probe in probes.items() if not probe.usable},
            },
        )
    return tuple(merged.values())


def normalize_url(url: str) -> str:
    """Return the canonical form of a server's URL, which is the same for all spellings of the URL."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # not a URL: the backend reports this
        return url
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def offered_model(report: EndpointReport, wanted: str) -> ModelInfo | None:
    """Return a server's description of a model, by any name that opens it; None if the server does not list the model."""
    return next((offered for offered in report.models if wanted in (offered.model, *offered.aliases)), None)


def _probe_of(definition: EngineDefinition, report: EndpointReport) -> Probe:
    if not report.probe.usable:
        return report.probe
    wanted = definition.model
    model = offered_model(report, wanted)
    if model is not None:
        return Probe(usable=not model.problem, reason=model.problem)
    names = [offered.name for offered in report.models]
    near = difflib.get_close_matches(wanted, names[:_COMPARED], n=1)
    if near:
        remedy = f"Did you mean {near[0]!r}?"
    else:
        remedy = f"The server has: {', '.join(names[:_NAMED])}." if names else "The server has no models."
    if report.pulls:
        remedy = f"{remedy} To download it to the server: paragone engines pull {definition.name}"
    return Probe(
        usable=False, reason=f"The server at {report.address} has no model {wanted!r}.", remedy=remedy
    )


def _address(backend: Backend, options: Mapping[str, Json]) -> str | None:
    option = address_option(backend.load_options)
    url = None if option is None else options.get(option.name)
    if option is None or not isinstance(url, str) or normalize_url(url) == normalize_url(str(option.default)):
        return None
    return url


def failed_probe(error: ParagoneError) -> Probe:
    return Probe(usable=False, reason=error.message, remedy=error.hint)


async def _ask(
    backend: Backend, options: Mapping[str, Json], engines: Sequence[EngineDefinition]
) -> EndpointReport | None:
    try:
        if not backend.capabilities.local:
            for engine in engines:
                name_reached(backend, engine.name, engine.model, options)
        return await questions.endpoint(backend, options)
    except ParagoneError as error:
        return EndpointReport(address="", probe=failed_probe(error))


USUAL_FOLDER = "~/models"
"""A folder that is searched in addition to the configured folders and the backends' folders."""


async def find_models(
    backend: Backend, folders: Sequence[str], *, asks_servers: bool = False
) -> Sequence[ModelInfo] | None:
    """Return the models in these and the usual folders; None if the backend has a server that may not be asked.
    Raises ParagoneError."""
    asks_servers = asks_servers and not GUARD.is_offline
    if not asks_servers and has_server_here(backend):
        return None
    return await questions.models(backend, [*folders, USUAL_FOLDER])


def servers_not_asked(backends: Iterable[Backend], endpoints: Iterable[ConfiguredEndpoint]) -> list[str]:
    """Return the backends whose servers on this machine were not asked. `endpoints` has the servers of engines, which
    were asked."""
    asked = {endpoint.backend for endpoint in endpoints if endpoint.url is None}
    return [backend.name for backend in backends if has_server_here(backend) and backend.name not in asked]


def has_server_here(backend: Backend) -> bool:
    """Return whether a backend looks for a server on this machine that no engine names."""
    if backend.capabilities.local:
        return False
    try:
        return bool(reached(backend, "", {}))
    except ParagoneError:
        return False


async def demo_engines(registry: Registry) -> list[EngineDefinition]:
    """Return two engines with the demo models of the first backend that has or creates demo models. Raises ParagoneError."""
    failure: ParagoneError | None = None
    for backend in registry.all().values():
        try:
            models = await questions.demo(backend, str(private_folder(cache_folder())), create=True)
        except ParagoneError as error:
            failure = error
            continue
        if models:
            return [
                EngineDefinition(name=model.name, backend=backend.name, model=model.model)
                for model in models[:2]
            ]
    raise failure or InputError(
        "No backend has demo models.", hint="Install a backend with demo models, such as llama.cpp."
    )


async def existing_demo_models(backend: Backend) -> Sequence[ModelInfo]:
    """Return a backend's demo models. Raises InputError if the demo must be installed, and ParagoneError."""
    return await questions.demo(backend, str(cache_folder()), create=False)
