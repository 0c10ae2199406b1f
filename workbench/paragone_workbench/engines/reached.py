"""The addresses that an engine contacts, as its backend declares them. No other module asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from paragone.violation import InterfaceViolation
from paragone_workbench.engines.error_boundary import PLUGIN_ERRORS, as_paragone_error

if TYPE_CHECKING:  # not needed at start
    from paragone import Backend, Json


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
