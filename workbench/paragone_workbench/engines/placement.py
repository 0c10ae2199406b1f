"""Where an engine computes: the addresses that the engine contacts, and how many engines share a model.

The backend declares the addresses and the number. No other module asks a backend for these values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone import ParagoneError
from paragone.violation import InterfaceViolation
from paragone_workbench.engines.definitions import split_options
from paragone_workbench.engines.error_boundary import CALL_ERRORS
from paragone_workbench.engines.foreign.answers import answer_apart, backend_answer
from paragone_workbench.engines.waiting import Tell, tell_nobody

if TYPE_CHECKING:  # not needed at start
    from paragone import Backend, Json
    from paragone_workbench.engines.definitions import EngineDefinition


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
    from paragone.network.guard import GUARD  # not needed at start

    GUARD.name(reached(backend, model, options, tell=tell), engine, is_local=backend.capabilities.local)


async def name_reached_apart(
    backend: Backend, engine: str, model: str, options: Mapping[str, Json], *, tell: Tell = tell_nobody
) -> None:
    """Do the same as `name_reached` without blocking the event loop."""
    from paragone.network.guard import GUARD  # not needed at start

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
