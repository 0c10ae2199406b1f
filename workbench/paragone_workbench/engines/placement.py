"""Where an engine computes: the addresses that it contacts, and how many engines share a model. The backend declares both.

No other module asks a backend for these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from paragone.violation import InterfaceViolation
from paragone_workbench.engines.definitions import split_options
from paragone_workbench.engines.error_boundary import CALL_ERRORS, as_paragone_error
from paragone_workbench.engines.foreign.answers import answer, answer_apart
from paragone_workbench.engines.waiting import Tell, tell_nobody

if TYPE_CHECKING:  # not needed at start
    from paragone import Backend, Json
    from paragone_workbench.engines.definitions import EngineDefinition

T = TypeVar("T")


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
        """How many runs engines with the same definition execute at once; None if a server decides that."""
        return None if self.addresses and not self.is_local else self.sharing


def placement_of(
    definition: EngineDefinition, backend: Backend | None, *, tell: Tell = tell_nobody
) -> Placement:
    """Return where an engine computes. If the definition is invalid or the backend fails, unknown fields have their default.

    Blocks until the backend has answered.
    """
    if backend is None:
        return Placement()
    model = definition.model

    def sharing(load: Mapping[str, Json]) -> int:
        what = "how many engines share a model"
        shared = answer(lambda: backend.sharing(model, load), f"the backend {backend.name}", what, tell=tell)
        return max(1, shared)

    return Placement(
        is_local=backend.capabilities.local,
        addresses=_reported(definition, backend, lambda load: reached(backend, model, load, tell=tell), ()),
        sharing=_reported(definition, backend, sharing, 1),
    )


def _reported(
    definition: EngineDefinition, backend: Backend, ask: Callable[[Mapping[str, Json]], T], otherwise: T
) -> T:
    """Return the backend's answer for the load options; `otherwise` if an option is invalid or the backend fails."""
    try:
        load, _ = split_options(definition, backend)
        return ask(load)
    except CALL_ERRORS:  # opening the engine reports the error
        return otherwise


def reached(
    backend: Backend, model: str, options: Mapping[str, Json], *, tell: Tell = tell_nobody
) -> tuple[str, ...]:
    """Return the addresses that an engine with this model and these load options contacts. Blocks until the backend has answered.

    Raises ParagoneError that names the backend if the backend fails or returns a wrong value.
    """
    try:
        addresses = answer(
            lambda: backend.reaches(model, options),
            f"the backend {backend.name}",
            "the addresses that it contacts",
            tell=tell,
        )
        return _checked(addresses)
    except CALL_ERRORS as error:
        raise as_paragone_error(error, backend.name) from error


def name_reached(
    backend: Backend, engine: str, model: str, options: Mapping[str, Json], *, tell: Tell = tell_nobody
) -> None:
    """Let an engine with this name contact the addresses that `reached` returns. Blocks until the backend has answered.

    Raises ParagoneError, with InputError if this process is offline and may not contact an address.
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
