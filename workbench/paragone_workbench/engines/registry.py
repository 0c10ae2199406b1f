"""The installed backends, discovered when they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from paragone import InputError
from paragone.threads import in_daemon_thread
from paragone_workbench.engines.definitions import (
    IMPORTED,
    EngineDefinition,
    suggest,
    without_secrets,
)
from paragone_workbench.engines.foreign.answers import answer_apart
from paragone_workbench.engines.placement import Placement, placement_of
from paragone_workbench.engines.waiting import Tell, import_watch, tell_nobody

if TYPE_CHECKING:
    from paragone import Backend
    from paragone.discovery import Discovery, PluginProblem

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
        """The plugins that could not be loaded."""
        self.all()
        return self._problems

    def _discover(self, only: str | None = None) -> Discovery:
        """Import plugins in a thread, so that Ctrl+C interrupts the caller and not the import."""
        from paragone.discovery import discover  # not at start: loads pluggy and package metadata

        watch = import_watch(self.tell)
        return in_daemon_thread(lambda: discover(only, watch=watch)).result()
