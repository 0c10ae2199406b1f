"""The servers that engines are configured to reach, and what each has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from paragone import Backend, EndpointReport, InputError, Json, Probe
from paragone.options import address_option
from paragone_workbench.config.read import Lookup
from paragone_workbench.engines.definitions import EngineDefinition, split_options
from paragone_workbench.engines.error_boundary import as_told

__all__ = ["ConfiguredEndpoint", "ask_endpoints", "place"]

PATIENCE = 20.0
"""Seconds that a server may take to tell of itself; its key's command may take a part of them."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredEndpoint:
    """A server that one engine or several reach, and what was found there."""

    backend: str
    engines: tuple[str, ...]
    url: str | None
    """As the first of these engines has it; None for the place where its backend goes by itself."""
    report: EndpointReport


async def ask_endpoints(
    definitions: Iterable[EngineDefinition], backend: Lookup
) -> tuple[ConfiguredEndpoint, ...]:
    """Ask the servers that these engines reach, all at the same time. Never raises.

    Engines without a server are left out, and those whose backend or options are at fault: the check
    of the config file tells of them. Engines that find the same at the same place are one endpoint.
    """
    asked: dict[tuple[str, str], tuple[Backend, Mapping[str, Json], list[str]]] = {}
    for definition in definitions:
        found = backend(definition.backend)
        if found is None:
            continue
        try:
            options, _ = split_options(definition, found)
        except InputError:
            continue
        key = (definition.backend, json.dumps(options, sort_keys=True))
        asked.setdefault(key, (found, options, []))[2].append(definition.name)
    reports = await asyncio.gather(*(_ask(found, load) for found, load, _ in asked.values()))
    merged: dict[object, ConfiguredEndpoint] = {}
    for (key, (found, load, names)), report in zip(asked.items(), reports, strict=True):
        if report is None:
            continue
        # another key or certificate may find something else there, which is then told as well
        where = place(report.address) if report.address else key[1]
        reason = report.probe.reason.replace(report.address, "")
        same = (key[0], where, report.probe.usable, reason, report.models)
        first = merged.get(same)
        merged[same] = ConfiguredEndpoint(
            backend=key[0],
            engines=(*(first.engines if first else ()), *names),
            url=first.url if first else _address(found, load),
            report=first.report if first else report,
        )
    return tuple(merged.values())


def place(url: str) -> str:
    """Return what all spellings of a server's address have in common, to know the server again by."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # no address; its backend says so
        return url
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def _address(backend: Backend, options: Mapping[str, Json]) -> str | None:
    """Return the URL in an engine's options, unless its backend would go there without it."""
    option = address_option(backend.load_options)
    url = options.get(option.name) if option is not None else None
    usual = option.default if option is not None else None
    if not isinstance(url, str) or (isinstance(usual, str) and place(url) == place(usual)):
        return None
    return url


async def _ask(backend: Backend, options: Mapping[str, Json]) -> EndpointReport | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return await backend.endpoint(options)
    except TimeoutError:
        probe = Probe(usable=False, reason=f"It gave no answer within {PATIENCE:g} seconds.")
    except Exception as error:  # noqa: BLE001 (a plugin's mistake ends in its own line)
        told = as_told(error, backend.name)
        probe = Probe(usable=False, reason=told.sentence, remedy=told.hint)
    return EndpointReport(address="", probe=probe)
