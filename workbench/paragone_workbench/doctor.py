"""Diagnose which backends can run on this machine, and what the others lack."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import platform
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from paragone import Backend, InputError, ParagoneError, Probe
from paragone.network import Confinement, try_offline
from paragone.threads import physical_cores
from paragone.worker.process import try_confinement
from paragone_workbench.config.read import load_with_problems
from paragone_workbench.config.settings import ConfigProblem, permission_warning
from paragone_workbench.config.state import State
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import EngineDefinition, check_engine
from paragone_workbench.engines.questions import NOTICE_S
from paragone_workbench.engines.registry import Registry
from paragone_workbench.machine import Gpu, find_gpus, main_memory
from paragone_workbench.models import ConfiguredEndpoint, failed_probe, query_endpoints, servers_not_asked
from paragone_workbench.paths import accessible, config_file

if TYPE_CHECKING:
    from paragone.discovery import PluginProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    python: str
    executable: str
    platform: str
    cores: int
    """Physical cores that the program may use."""
    threads: int
    """Hardware threads that the program may use."""
    memory: int | None
    """Bytes of main memory that the program may use: the whole memory, or the limit of the control group."""
    memory_free: int | None
    gpus: tuple[Gpu, ...] = ()
    gpu_problem: str = ""
    confinement: Confinement
    offline: Confinement | None
    """The restriction that keeps paragone's own process off the network; None if it is online."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    version: str
    machine: Machine
    backends: Mapping[str, tuple[str, Probe]] = field(default_factory=dict)
    """By the backend's name, its title, and whether it is usable with its own or a configured interpreter."""
    endpoints: tuple[ConfiguredEndpoint, ...] = ()
    not_asked: tuple[str, ...] = ()
    """The backends whose servers on this machine were not asked, because no engine names them."""
    broken_plugins: tuple[PluginProblem, ...] = ()
    config: Path
    problems: tuple[ConfigProblem, ...] = ()
    permission_warning: str = ""
    """A warning if other users can read a config file that holds secrets, else empty."""


async def diagnose(config: Path | None, state: State, registry: Registry) -> AsyncGenerator[Diagnosis, None]:
    """Yield the whole diagnosis; before it, if backends or servers are slow, a diagnosis without them. `config` is
    None for the default file. Raises InputError if the file cannot be read."""
    from importlib.metadata import version

    settings, problems = load_with_problems(config, state, registry.get)
    backends = registry.all()
    probes = {
        name: asyncio.create_task(_probe_anywhere(backend, settings.engines.values()))
        for name, backend in backends.items()
    }
    endpoints = asyncio.create_task(query_endpoints(settings.engines.values(), registry.find))
    machine = await _machine()

    def so_far() -> Diagnosis:
        return Diagnosis(
            version=version("paragone"),
            machine=machine,
            backends={
                name: (backends[name].title or name, task.result())
                for name, task in probes.items()
                if task.done()
            },
            endpoints=endpoints.result() if endpoints.done() else (),
            not_asked=(
                tuple(servers_not_asked(backends.values(), endpoints.result())) if endpoints.done() else ()
            ),
            broken_plugins=registry.problems,
            config=config or config_file(),
            problems=tuple(problems),
            permission_warning=permission_warning(settings.document, registry.find),
        )

    asked = (*probes.values(), endpoints)
    _, late = await asyncio.wait(asked, timeout=NOTICE_S)
    if late:
        yield so_far()
        await asyncio.wait(late)
    yield so_far()


async def _probe_anywhere(backend: Backend, engines: Iterable[EngineDefinition]) -> Probe:
    """Probe a backend with its default interpreter and its engines' interpreters. Return the first usable probe, else the first
    probe."""
    named = {
        engine.python for engine in engines if engine.backend == backend.name and engine.python is not None
    }
    own, *others = await asyncio.gather(*(probe(backend, python) for python in (None, *sorted(named))))
    if own.usable:
        return own
    for python, found in zip(sorted(named), others, strict=True):
        if found.usable:
            return dataclasses.replace(found, facts={"interpreter": python, **found.facts})
    return own


async def probe(backend: Backend, python: str | None = None) -> Probe:
    """Return whether a backend is usable with an interpreter, by default its environment's. An error becomes part of
    the result."""
    try:
        return await questions.probe(backend, python)
    except ParagoneError as error:
        return failed_probe(error)


async def probe_engines(definitions: Iterable[EngineDefinition], registry: Registry) -> list[Probe]:
    engines = list(definitions)
    servers = asyncio.create_task(query_endpoints(engines, registry.find))
    probes: dict[tuple[str, str | None], asyncio.Task[Probe]] = {}
    invalid: dict[str, Probe] = {}
    for definition in engines:
        try:
            backend = registry.get(definition.backend)
            check_engine(definition, backend)
            model = definition.model
            if backend.capabilities.local and PurePath(model).is_absolute() and not accessible(model):
                raise InputError(f"There is no file or folder {model}.", hint="Check the engine's `model`.")
        except ParagoneError as error:
            invalid[definition.name] = failed_probe(error)
            continue
        key = (definition.backend, definition.python)
        if key not in probes:
            probes[key] = asyncio.create_task(probe(backend, definition.python))
    await asyncio.gather(*probes.values())
    for endpoint in await servers:
        invalid = {**endpoint.problems, **invalid}
    return [invalid.get(engine.name) or probes[engine.backend, engine.python].result() for engine in engines]


async def _machine() -> Machine:
    gpus, gpu_problem = await find_gpus()
    memory, memory_free = main_memory()
    return Machine(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        executable=sys.executable,
        platform=platform.platform(),
        cores=physical_cores(),
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=memory,
        memory_free=memory_free,
        gpus=tuple(gpus),
        gpu_problem=gpu_problem,
        confinement=await try_confinement(),
        offline=try_offline(),
    )
