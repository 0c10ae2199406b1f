"""What this machine can run, and what is missing for the rest."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from paragone import Backend, InputError, ParagoneError, Probe
from paragone.cores import physical_cores
from paragone_workbench.config.permissions import exposure
from paragone_workbench.config.read import survey
from paragone_workbench.config.settings import Problem
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition, check_engine
from paragone_workbench.engines.environments import interpreter
from paragone_workbench.engines.error_boundary import as_told
from paragone_workbench.engines.registry import Registry
from paragone_workbench.inventory.endpoints import ConfiguredEndpoint, ask_endpoints
from paragone_workbench.machine.gpus import Gpu, find_gpus
from paragone_workbench.machine.memory import main_memory
from paragone_workbench.paths import config_file

if TYPE_CHECKING:
    from paragone.discovery import Problem as PluginProblem

__all__ = ["Diagnosis", "Machine", "examine", "probe", "probe_engines"]

PATIENCE = 120.0
"""Seconds that a backend may take to say whether it is usable: some import gigabytes from a cold disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What engines can count on here."""

    python: str
    executable: str
    platform: str
    cores: int
    """Physical cores that the program may use."""
    threads: int
    """Hardware threads that the program may use."""
    memory: int | None
    """Bytes of main memory that the program may have: all, or the control group's limit."""
    memory_free: int | None
    """Bytes of them that can still be had."""
    gpus: tuple[Gpu, ...] = ()
    gpu_problem: str = ""
    """Why no GPU could be asked, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that decides what can be run."""

    version: str
    """Of paragone."""
    machine: Machine
    backends: Mapping[str, tuple[str, Probe]] = field(default_factory=dict)
    """By name: what people call it, and whether it is usable: with the program's own interpreter, or with
    one that an engine of the config names."""
    endpoints: tuple[ConfiguredEndpoint, ...] = ()
    """The servers that engines are configured to reach."""
    broken_plugins: tuple[PluginProblem, ...] = ()
    config: Path
    problems: tuple[Problem, ...] = ()
    """What is wrong in the config file."""
    exposure: str = ""
    """A warning where others can read a config file that they should not."""


async def examine(config: Path | None, state: State, registry: Registry) -> Diagnosis:
    """Look at everything. `config` is the file that the user named, None for the default one.

    Raises InputError where that file cannot be read.
    """
    from importlib.metadata import version

    settings, problems = survey(config, state, registry.find)
    backends = registry.all()
    asked = {
        name: asyncio.create_task(_probe_anywhere(backend, settings.engines.values()))
        for name, backend in backends.items()
    }
    endpoints = asyncio.create_task(ask_endpoints(settings.engines.values(), registry.find))
    machine = await _machine()
    return Diagnosis(
        version=version("paragone"),
        machine=machine,
        backends={name: (backends[name].title or name, await task) for name, task in asked.items()},
        endpoints=await endpoints,
        broken_plugins=registry.problems,
        config=config or config_file(),
        problems=tuple(problems),
        exposure=exposure(settings.document, registry.find),
    )


async def _probe_anywhere(backend: Backend, engines: Iterable[EngineDefinition]) -> Probe:
    """Probe a backend, and where it is not usable the interpreters that its engines name, too."""
    named = {it.python for it in engines if it.backend == backend.name and it.python is not None}
    own, *others = await asyncio.gather(*(probe(backend, python) for python in (None, *sorted(named))))
    if own.usable:
        return own
    for python, found in zip(sorted(named), others, strict=True):
        if found.usable:
            return dataclasses.replace(found, facts={"interpreter": python, **found.facts})
    return own


async def probe(backend: Backend, python: str | None = None) -> Probe:
    """Ask a backend whether it is usable here. Whatever its plugin does, this gives an answer.

    `python` is the interpreter that was chosen; by default the backend's own environment is meant, if
    it has one.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            return await backend.probe(interpreter(backend, python))
    except TimeoutError:
        return Probe(usable=False, reason=f"It gave no answer within {PATIENCE:g} seconds.")
    except Exception as error:  # noqa: BLE001 (a plugin's mistake ends in its own line)
        told = as_told(error, backend.name)
        return Probe(usable=False, reason=told.sentence, remedy=told.hint)


async def probe_engines(definitions: Iterable[EngineDefinition], registry: Registry) -> list[Probe]:
    """Find out of each engine whether it could be opened here, short of opening it.

    Backends are asked once for each interpreter, all at the same time.
    """
    chosen = list(definitions)
    asked: dict[tuple[str, str | None], asyncio.Task[Probe]] = {}
    mistakes: dict[str, Probe] = {}
    for definition in chosen:
        try:
            backend = registry.get(definition.backend)
            check_engine(definition, backend)
            _check_model(definition, backend)
        except ParagoneError as error:
            mistakes[definition.name] = Probe(usable=False, reason=error.sentence, remedy=error.hint)
            continue
        key = (definition.backend, definition.python)
        if key not in asked:
            asked[key] = asyncio.create_task(probe(backend, definition.python))
    await asyncio.gather(*asked.values())
    return [
        mistakes.get(definition.name) or asked[definition.backend, definition.python].result()
        for definition in chosen
    ]


def _check_model(definition: EngineDefinition, backend: Backend) -> None:
    model = definition.model
    if backend.capabilities.local and PurePath(model).is_absolute() and not Path(model).exists():
        raise InputError(f"There is no file or folder {model}.", hint="Check the engine's `model`.")


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
    )
