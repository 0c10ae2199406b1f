"""Finding backends: names without importing, one by its name, or all of them whatever is broken.

Each plugin is imported and asked on its own, with a fresh manager, so that one that fails is
reported by name and stops nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import pluggy

from paragone.backend import API_VERSION, Backend
from paragone.hooks import ENTRY_POINTS, HookSpecs

__all__ = ["Discovery", "Problem", "discover", "plugin_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A plugin that could not be used, and why."""

    plugin: str
    """Its entry point's name."""
    package: str
    """The distribution that brought it."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The backends that were found, by name, and the plugins that failed."""

    backends: Mapping[str, Backend]
    problems: tuple[Problem, ...]


class _PluginError(Exception):
    """A plugin that breaks the rules; the message says which."""


def plugin_names() -> tuple[str, ...]:
    """Return the names of the installed plugins, importing none."""
    return tuple(sorted({point.name for point in entry_points(group=ENTRY_POINTS)}))


def discover(only: str | None = None) -> Discovery:
    """Import plugins and ask them for their backends: all, or those whose entry point is named `only`."""
    points = entry_points(group=ENTRY_POINTS)
    backends: dict[str, Backend] = {}
    problems: list[Problem] = []
    for point in sorted(points, key=lambda point: point.name):
        if only is not None and point.name != only:
            continue
        try:
            for backend in _ask(point):
                if backend.name in backends:
                    raise _PluginError(f"a backend named {backend.name!r} is there already")
                backends[backend.name] = backend
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a stranger's code: anything may happen)
            package = point.dist.name if point.dist else ""
            problems.append(Problem(plugin=point.name, package=package, reason=_reason(error)))
    return Discovery(backends=backends, problems=tuple(problems))


def _ask(point: EntryPoint) -> list[Backend]:
    manager = pluggy.PluginManager("paragone")
    manager.add_hookspecs(HookSpecs)
    manager.register(point.load(), name=point.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _PluginError(f"it implements a hook that does not exist ({error})") from error
    found: list[Backend] = []
    for answer in manager.hook.paragone_backends():
        for backend in answer:
            if not isinstance(backend, Backend):
                raise _PluginError(f"{backend!r} is not a paragone.Backend")
            if not backend.name.isidentifier():
                raise _PluginError(
                    f"{backend.name!r} will not do as a backend's name; it must be an identifier"
                )
            if backend.api_version != API_VERSION:
                raise _PluginError(
                    f"its backend {backend.name!r} was written for version {backend.api_version} of the plugin "
                    f"interface, and this paragone has version {API_VERSION}; update the older of the two"
                )
            found.append(backend)
    if not found:
        raise _PluginError("it brings no backend; is its hook marked with paragone.hooks.hookimpl?")
    return found


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    first = text[0] if text else ""
    return first if isinstance(error, _PluginError) else f"{type(error).__name__}: {first}".rstrip(": ")
