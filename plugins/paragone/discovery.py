"""Find the installed plugins and import their backends.

Each plugin gets its own plugin manager. A plugin that fails is reported by name and does not affect
the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import pluggy

from paragone.backend import API_VERSION, Backend
from paragone.hooks import ENTRY_POINTS, HookSpecs
from paragone.models import Capabilities
from paragone.options import Options

__all__ = ["Discovery", "Problem", "discover", "plugin_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A plugin that could not be used, and why."""

    plugin: str
    """Its entry point's name."""
    package: str
    """The distribution that it belongs to."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The backends that were found, by name, and the plugins that failed."""

    backends: Mapping[str, Backend]
    problems: tuple[Problem, ...]


class _PluginError(Exception):
    """A plugin violates the interface; the message says how."""


def plugin_names() -> tuple[str, ...]:
    """Return the names of the installed plugins without importing them."""
    return tuple(sorted({point.name for point in entry_points(group=ENTRY_POINTS)}))


def discover(only: str | None = None) -> Discovery:
    """Import plugins and return their backends: all, or those whose entry point is named `only`.

    A KeyboardInterrupt counts as the plugin's: call this in a thread other than the main one, where
    Ctrl+C raises none.
    """
    points = entry_points(group=ENTRY_POINTS)
    backends: dict[str, Backend] = {}
    problems: list[Problem] = []
    for point in sorted(points, key=lambda point: point.name):
        if only is not None and point.name != only:
            continue
        try:
            for backend in _backends(point):
                if backend.name in backends:
                    raise _PluginError(f"another plugin has a backend named {backend.name!r}")
                backends[backend.name] = backend
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 (third-party code)
            package = point.dist.name if point.dist else ""
            problems.append(Problem(plugin=point.name, package=package, reason=_reason(error)))
    return Discovery(backends=backends, problems=tuple(problems))


def _backends(point: EntryPoint) -> list[Backend]:
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
                    f"{backend.name!r} is not a valid backend name; it must be a Python identifier"
                )
            if backend.api_version != API_VERSION:
                raise _PluginError(
                    f"its backend {backend.name!r} was written for version {backend.api_version} of the plugin "
                    f"interface, and this paragone has version {API_VERSION}; update the older of the two"
                )
            _check_attributes(backend)
            found.append(backend)
    if not found:
        raise _PluginError("it has no backend; is its hook marked with paragone.hooks.hookimpl?")
    return found


def _check_attributes(backend: Backend) -> None:
    for name, kind in (("title", str), ("capabilities", Capabilities)):
        if not isinstance(getattr(backend, name), kind):
            raise _PluginError(f"the {name} of its backend {backend.name!r} is not a {kind.__name__}")
    for name in ("load_options", "sampling"):
        options = getattr(backend, name)
        if not (isinstance(options, type) and issubclass(options, Options)):
            raise _PluginError(f"the {name} of its backend {backend.name!r} is not a class of Options")


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    first = text[0] if text else ""
    return first if isinstance(error, _PluginError) else f"{type(error).__name__}: {first}".rstrip(": ")
