"""Where an engine computes, as its backend declares it: the addresses that it contacts, and which engines share a model.

No other module asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from paragone.violation import InterfaceViolation
from paragone_workbench.engines.definitions import split_options
from paragone_workbench.engines.error_boundary import PLUGIN_ERRORS, as_paragone_error

if TYPE_CHECKING:  # not needed at start
    from paragone import Backend, Json
    from paragone_workbench.engines.definitions import EngineDefinition

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an engine computes, and beside which others."""

    is_local: bool = False
    """Whether it computes on this machine."""
    addresses: tuple[str, ...] = ()
    """The servers that it contacts."""
    sharing: int = 1
    """How many engines with the same definition share one loaded model; 1 if each loads it."""

    @property
    def most_at_once(self) -> int | None:
        """How many runs engines with the same definition execute at once; None if a server decides it."""
        return None if self.addresses and not self.is_local else self.sharing


def placement_of(definition: EngineDefinition, backend: Backend | None) -> Placement:
    """Return where an engine computes. What an invalid definition or a backend that fails leaves open has its default."""
    if backend is None:
        return Placement()
    model = definition.model
    return Placement(
        is_local=backend.capabilities.local,
        addresses=_reported(definition, backend, lambda load: reached(backend, model, load), ()),
        sharing=_reported(definition, backend, lambda load: max(1, backend.sharing(model, load)), 1),
    )


def _reported(
    definition: EngineDefinition, backend: Backend, ask: Callable[[Mapping[str, Json]], T], otherwise: T
) -> T:
    """Return what the backend reports for the load options; `otherwise` if they are invalid or the backend fails."""
    try:
        load, _ = split_options(definition, backend)
        return ask(load)
    except Exception:  # noqa: BLE001 (opening the engine reports the error)
        return otherwise


def reached(backend: Backend, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the addresses that an engine with this model and these load options contacts.

    Raises ParagoneError that names the backend, whatever the backend raised or returned.
    """
    try:
        return _checked(backend.reaches(model, options))
    except PLUGIN_ERRORS as error:
        raise as_paragone_error(error, backend.name) from error


def name_reached(backend: Backend, engine: str, model: str, options: Mapping[str, Json]) -> None:
    """Let an engine with this name contact the addresses that `reached` returns.

    Raises ParagoneError, with InputError if this process is offline and may not contact one of them.
    """
    from paragone.network.guard import GUARD  # not needed at start

    GUARD.name(reached(backend, model, options), engine, is_local=backend.capabilities.local)


def _checked(addresses: object) -> tuple[str, ...]:
    if not isinstance(addresses, tuple | list):
        raise InterfaceViolation.expected("a tuple of addresses", addresses)
    for address in addresses:
        if not isinstance(address, str):
            raise InterfaceViolation.expected("an address", address)
    return tuple(addresses)
