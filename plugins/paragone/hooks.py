"""The plugin hooks. Each group of entry points has one hook, which the plugins of the group implement.

A plugin with backends is a module (or object) named by an entry point of the group `paragone`. Give the entry point the
name of its backend. A plugin with assertions is named by an entry point of the group `paragone.assertions`.
"""

from collections.abc import Iterable

import pluggy

from paragone.assertions import AnyAssertion
from paragone.backend import Backend

ENTRY_POINTS = "paragone"
ASSERTION_ENTRY_POINTS = "paragone.assertions"

hookspec = pluggy.HookspecMarker("paragone")
hookimpl = pluggy.HookimplMarker("paragone")


@hookspec
def paragone_backends() -> Iterable[Backend]:
    """Return the plugin's backends. Do not import the inference library."""
    raise NotImplementedError


@hookspec
def paragone_assertions() -> Iterable[AnyAssertion]:
    """Return the plugin's assertions. Do not import libraries that only a check needs."""
    raise NotImplementedError
