"""The plugin hook. A plugin implements one hook, which returns its backends.

A plugin is a module (or object) named by an entry point of the group `paragone`. Give the entry
point the name of its backend.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from paragone.backend import Backend

__all__ = ["ENTRY_POINTS", "HookSpecs", "hookimpl", "hookspec"]

ENTRY_POINTS = "paragone"

hookspec = pluggy.HookspecMarker("paragone")
hookimpl = pluggy.HookimplMarker("paragone")


class HookSpecs:
    """The hooks that a plugin implements."""

    @hookspec
    def paragone_backends(self) -> Iterable[Backend]:
        """Return the plugin's backends. Do not import the inference library."""
        raise NotImplementedError
