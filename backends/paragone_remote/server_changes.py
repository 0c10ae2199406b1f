"""Detect that a server was replaced or changed since an engine was opened."""

from __future__ import annotations

from collections.abc import Mapping

from paragone import Caution
from paragone_remote.endpoints.endpoint import Endpoint

Identity = Mapping[str, str]
"""What identifies a server and its model, as far as the server reports it: names of properties and their values."""


def caution_about(endpoint: Endpoint, before: Identity, now: Identity) -> Caution | None:
    """Return a caution if a property has changed that is known `before` and `now`."""
    changes = [
        f"its {name} was {value} and is {now[name]}"
        for name, value in before.items()
        if name in now and now[name] != value
    ]
    if not changes:
        return None
    sentence = (
        f"The server at {endpoint.origin} is not the one that this engine was opened with: "
        f"{endpoint.quote(', '.join(changes))}. Open the engine again before you compare this answer."
    )
    return Caution(code="server-changed", sentence=sentence)
