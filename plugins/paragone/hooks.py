"""The whole plugin surface: one question.

A plugin is a module (or object) named by an entry point of the group `paragone`; call the entry
point what its backend is called.
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
    """What plugins are asked."""

    @hookspec
    def paragone_backends(self) -> Iterable[Backend]:
        """Which backends do you bring? Answer without importing the inference library."""
        raise NotImplementedError
