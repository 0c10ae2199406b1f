"""The backends that are installed, looked up as they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from paragone import Backend, InputError
from paragone_workbench.engines.definitions import nearest

if TYPE_CHECKING:
    from paragone.discovery import Problem

__all__ = ["Registry"]


class Registry:
    """Finds backends by name and remembers them; importing one plugin leaves the others alone."""

    def __init__(self) -> None:
        self._found: dict[str, Backend] = {}
        self._problems: tuple[Problem, ...] = ()
        self._complete = False

    def get(self, name: str) -> Backend:
        """Return the backend of that name. Raises InputError where there is none that works."""
        found = self.find(name)
        if found is not None:
            return found
        for problem in self._problems:
            if problem.plugin == name:
                raise InputError(
                    f"The plugin {problem.plugin} of {problem.package or 'an unknown package'} cannot be "
                    f"used: {problem.reason.rstrip('.')}.",
                    hint="Repair it or remove it; the other backends are not affected.",
                )
        hint = nearest(name, self._found) if self._found else "No plugin brings one."
        raise InputError(f"There is no backend {name!r}.", hint=hint)

    def find(self, name: str) -> Backend | None:
        """Return the backend of that name, or None."""
        if name not in self._found and not self._complete:
            from paragone.discovery import discover  # not before a backend is wanted: pluggy and metadata

            # By convention a backend's plugin is called what the backend is.
            self._found |= discover(name).backends
        if name not in self._found:
            self.all()
        return self._found.get(name)

    def all(self) -> Mapping[str, Backend]:
        """Return every backend that works, by name."""
        if not self._complete:
            from paragone.discovery import discover

            discovery = discover()
            self._found = {**discovery.backends, **self._found}
            self._problems = discovery.problems
            self._complete = True
        return dict(sorted(self._found.items()))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The plugins that could not be used."""
        self.all()
        return self._problems
