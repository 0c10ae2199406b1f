"""The installed backends, which are imported when needed, and where engines compute."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone import InputError, Json, ParagoneError
from paragone.threads import in_daemon_thread, run_in_thread
from paragone_workbench.engines import definitions
from paragone_workbench.engines.failures import PLUGIN_ERRORS, naming

if TYPE_CHECKING:
    from paragone import Backend
    from paragone.discovery import Discovery, PluginProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an engine computes: on this machine, or at which servers."""

    is_local: bool = False
    """Whether the engine computes on this machine."""
    addresses: tuple[str, ...] = ()
    """The servers that the engine contacts."""
    sharing: int = 1
    """How many engines with the same definition share one loaded model; 1 if each engine loads its own."""

    @property
    def most_at_once(self) -> int | None:
        """How many runs engines with the same definition execute concurrently; None if the server decides."""
        return None if self.addresses and not self.is_local else self.sharing


def placement_of(definition: definitions.EngineDefinition, backend: Backend | None) -> Placement:
    """Return where an engine computes. If the definition is invalid or the backend fails, unknown fields get their defaults."""
    if backend is None:
        return Placement()
    model, is_local = definition.model, backend.capabilities.local
    addresses: tuple[str, ...] = ()
    sharing = 1
    try:
        load, _ = definitions.load_and_sampling_options(definition, backend)
    except PLUGIN_ERRORS:  # opening the engine reports the error
        return Placement(is_local=is_local)
    with contextlib.suppress(ParagoneError):
        addresses = reached(backend, model, load)
    with contextlib.suppress(ParagoneError), naming(backend.name):
        sharing = max(1, backend.sharing(model, load))
    return Placement(is_local=is_local, addresses=addresses, sharing=sharing)


def reached(backend: Backend, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the addresses that an engine with these load options contacts. Raises a ParagoneError that names the backend."""
    with naming(backend.name):
        return tuple(backend.reaches(model, options))


def name_reached(backend: Backend, engine: str, model: str, options: Mapping[str, Json]) -> None:
    """Let an engine contact the addresses that `reached` returns. Raises InputError if the program is offline, and
    ParagoneError."""
    from paragone.network import GUARD  # not needed at start

    GUARD.name(reached(backend, model, options), engine, is_local=backend.capabilities.local)


class Registry:
    """Finds backends by name and caches them. Finding a backend imports no other plugin."""

    def __init__(self) -> None:
        self._found: dict[str, Backend] = {}
        self._problems: tuple[PluginProblem, ...] = ()
        self._complete = False
        self._loading = asyncio.Lock()

    def get(self, name: str) -> Backend:
        """Return the backend of this name. Raises InputError if there is no such backend, or its plugin is broken."""
        found = self.find(name)
        if found is not None:
            return found
        if name == definitions.IMPORTED:
            raise InputError(
                "These answers were imported from another program, so there is no engine to open.",
                hint="Choose one of your engines for this lane.",
            )
        for problem in self._problems:
            if problem.plugin == name:
                raise InputError(
                    problem.message, hint="Repair or remove the plugin; the other backends are not affected."
                )
        hint = (
            definitions.suggest(name, self._found)
            if self._found
            else "No plugin with a backend is installed."
        )
        raise InputError(f"There is no backend {name!r}.", hint=hint)

    def find(self, name: str) -> Backend | None:
        if name not in self._found and not self._complete:
            # by convention, a backend's plugin has the same name as the backend
            self._found |= self._discover(name).backends
        if name not in self._found:
            self.all()
        return self._found.get(name)

    def public(self, definition: definitions.EngineDefinition) -> definitions.EngineDefinition:
        """Return a definition without the options that its backend declares as secret."""
        return definitions.without_secrets(definition, self.find(definition.backend))

    def knows(self, name: str) -> bool:
        """Whether `find` returns immediately, because it has looked for this backend before."""
        return self._complete or name in self._found

    async def load(self, names: Iterable[str]) -> None:
        """Look for backends in a thread, since importing their plugins would block the event loop."""
        async with self._loading:
            unknown = [name for name in names if not self.knows(name)]
            if unknown:
                await run_in_thread(lambda: [self.find(name) for name in unknown])

    def all(self) -> Mapping[str, Backend]:
        if not self._complete:
            discovery = self._discover()
            self._found = {**discovery.backends, **self._found}
            self._problems = discovery.problems
            self._complete = True
        return dict(sorted(self._found.items()))

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        self.all()
        return self._problems

    def _discover(self, only: str | None = None) -> Discovery:
        """Import plugins in a thread, so that Ctrl+C interrupts the caller and not the import."""
        from paragone.discovery import discover  # not at start: loads pluggy and package metadata

        return in_daemon_thread(lambda: discover(only)).result()
