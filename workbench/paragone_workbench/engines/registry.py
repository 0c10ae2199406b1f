"""The installed backends, discovered when they are needed, and where engines compute."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from paragone import InputError, Json, ParagoneError
from paragone.errors import InterfaceViolation
from paragone.threads import in_daemon_thread
from paragone_workbench.engines.definitions import (
    IMPORTED,
    EngineDefinition,
    split_options,
    suggest,
    without_secrets,
)
from paragone_workbench.engines.failures import CALL_ERRORS, marked_import
from paragone_workbench.engines.plugin_answers import answer_apart, backend_answer
from paragone_workbench.text import Tell, tell_nobody

if TYPE_CHECKING:
    from paragone import Backend
    from paragone.discovery import Discovery, PluginProblem, Watch


def import_watch(tell: Tell) -> Watch:
    """Return a watch over the imports of plugins, which leaves marks on disk and shows an import that takes long."""
    from paragone.discovery import LOADING_S, Watch

    def waiting(plugin: str) -> None:
        tell(f"Waiting for the plugin {plugin} to be imported, at most {LOADING_S:g} seconds …")

    return Watch(importing=marked_import, waiting=waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an engine computes: on this machine, or at which servers."""

    is_local: bool = False
    """Whether the engine computes on this machine."""
    addresses: tuple[str, ...] = ()
    """The servers that the engine contacts."""
    sharing: int = 1
    """How many engines with the same definition share one loaded model; 1 if each loads it."""

    @property
    def most_at_once(self) -> int | None:
        """How many runs engines with the same definition execute at once; None if a server decides how many."""
        return None if self.addresses and not self.is_local else self.sharing


def placement_of(
    definition: EngineDefinition, backend: Backend | None, *, tell: Tell = tell_nobody
) -> Placement:
    """Return where an engine computes. If the definition is invalid or the backend fails, unknown fields have their default.

    Blocks until the backend has answered.
    """
    if backend is None:
        return Placement()
    model, is_local = definition.model, backend.capabilities.local
    addresses: tuple[str, ...] = ()
    sharing = 1
    try:
        load, _ = split_options(definition, backend)
    except CALL_ERRORS:  # opening the engine reports the error
        return Placement(is_local=is_local)
    with contextlib.suppress(ParagoneError):
        addresses = reached(backend, model, load, tell=tell)
    with contextlib.suppress(ParagoneError):
        what = "how many engines share a model"
        sharing = backend_answer(backend, lambda: max(1, backend.sharing(model, load)), what, tell=tell)
    return Placement(is_local=is_local, addresses=addresses, sharing=sharing)


def reached(
    backend: Backend, model: str, options: Mapping[str, Json], *, tell: Tell = tell_nobody
) -> tuple[str, ...]:
    """Return the addresses that an engine with this model and these load options contacts. Blocks until the backend has answered.

    Raises ParagoneError that names the backend if the backend fails or returns a wrong value.
    """
    what = "the addresses that it contacts"
    return backend_answer(backend, lambda: _checked(backend.reaches(model, options)), what, tell=tell)


def name_reached(
    backend: Backend, engine: str, model: str, options: Mapping[str, Json], *, tell: Tell = tell_nobody
) -> None:
    """Let an engine with this name contact the addresses that `reached` returns. Blocks until the backend has answered.

    Raises ParagoneError as `reached` does, and InputError if this process is offline and may not contact an address.
    """
    from paragone.network import GUARD  # not needed at start

    GUARD.name(reached(backend, model, options, tell=tell), engine, is_local=backend.capabilities.local)


async def name_reached_apart(
    backend: Backend, engine: str, model: str, options: Mapping[str, Json], *, tell: Tell = tell_nobody
) -> None:
    """Do the same as `name_reached` without blocking the event loop."""
    from paragone.network import GUARD  # not needed at start

    addresses = await answer_apart(lambda: reached(backend, model, options, tell=tell))
    # in this task, so that the guard attributes the caller's next contacts to this engine
    GUARD.name(addresses, engine, is_local=backend.capabilities.local)


def _checked(addresses: object) -> tuple[str, ...]:
    if not isinstance(addresses, tuple | list):
        raise InterfaceViolation.expected("a tuple of addresses", addresses)
    for address in addresses:
        if not isinstance(address, str):
            raise InterfaceViolation.expected("an address", address)
    return tuple(addresses)


_MOST_PLACED = 64
"""Number of engines whose placement is kept."""


class Registry:
    """Finds backends by name and caches them. Finding a backend imports no other plugin.

    `tell` shows which plugin the program waits for, and may be called in any thread.
    """

    def __init__(self, tell: Tell = tell_nobody) -> None:
        self.tell = tell
        self._found: dict[str, Backend] = {}
        self._own: frozenset[str] = frozenset()
        self._problems: tuple[PluginProblem, ...] = ()
        self._complete = False
        self._loading = asyncio.Lock()
        self._placed: list[tuple[tuple[EngineDefinition, Backend | None], Placement]] = []
        """The last placements, by definition and backend: each run needs them several times."""

    def get(self, name: str) -> Backend:
        """Return the backend of this name. Raises InputError if there is no such backend, or its plugin is broken."""
        found = self.find(name)
        if found is not None:
            return found
        if name == IMPORTED:
            raise InputError(
                "These answers were imported from another program, so there is no engine to open.",
                hint="Choose one of your engines for this lane.",
            )
        for problem in self._problems:
            if problem.plugin == name:
                raise InputError(
                    problem.sentence, hint="Repair or remove the plugin; the other backends are not affected."
                )
        hint = suggest(name, self._found) if self._found else "No plugin with a backend is installed."
        raise InputError(f"There is no backend {name!r}.", hint=hint)

    def find(self, name: str) -> Backend | None:
        """Return the backend of this name, or None."""
        if name not in self._found and not self._complete:
            # by convention, a backend's plugin has the same name as the backend
            discovery = self._discover(name)
            self._found |= discovery.backends
            self._own |= discovery.own
        if name not in self._found:
            self.all()
        return self._found.get(name)

    def is_own(self, name: str) -> bool:
        """Whether the backend of this name comes with paragone."""
        return self.find(name) is not None and name in self._own

    def public(self, definition: EngineDefinition) -> EngineDefinition:
        """Return a definition without the options that its backend declares as secret."""
        return without_secrets(definition, self.find(definition.backend))

    def placement(self, definition: EngineDefinition) -> Placement:
        """Return where an engine computes. For a backend of another author, the placement is known only after `place`."""
        backend = self.find(definition.backend)
        asked = definition, backend
        known = next((found for key, found in self._placed if key == asked), None)
        if known is None and backend is not None and not self.is_own(backend.name):
            return Placement(is_local=backend.capabilities.local)
        if known is None:
            known = placement_of(definition, backend)
            self._keep(definition, backend, known)
        return known

    async def place(self, definitions: Iterable[EngineDefinition]) -> None:
        """Ask where engines compute, without blocking the event loop, and keep the answers for `placement`."""
        for definition in definitions:
            backend = self.find(definition.backend)
            if any(key == (definition, backend) for key, _ in self._placed):
                continue
            ask = partial(placement_of, definition, backend, tell=self.tell)
            foreign = backend is not None and not self.is_own(backend.name)
            self._keep(definition, backend, await answer_apart(ask) if foreign else ask())

    def _keep(self, definition: EngineDefinition, backend: Backend | None, placed: Placement) -> None:
        self._placed = [*self._placed[1 - _MOST_PLACED :], ((definition, backend), placed)]

    def knows(self, name: str) -> bool:
        """Whether `find` returns at once, because it has looked for this backend before."""
        return self._complete or name in self._found

    async def load(self, names: Iterable[str]) -> None:
        """Look for backends in a thread, since importing their plugins would block the event loop."""
        async with self._loading:
            unknown = [name for name in names if not self.knows(name)]
            if unknown:
                found = in_daemon_thread(lambda: [self.find(name) for name in unknown])
                await asyncio.wrap_future(found)

    def all(self) -> Mapping[str, Backend]:
        """Return all usable backends by name, sorted."""
        if not self._complete:
            discovery = self._discover()
            self._found = {**discovery.backends, **self._found}
            self._own = discovery.own
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

        watch = import_watch(self.tell)
        return in_daemon_thread(lambda: discover(only, watch=watch)).result()
