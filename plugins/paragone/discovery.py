"""Find the installed plugins and import their backends and assertions.

Each plugin gets its own plugin manager. A plugin that fails is reported by name and does not affect
the others.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeVar

import pluggy

from paragone.assertions import AnyAssertion, Assertion
from paragone.backend import API_VERSION, Backend
from paragone.hooks import ASSERTION_ENTRY_POINTS, ENTRY_POINTS, HookSpecs
from paragone.options import Options
from paragone.threads import in_daemon_thread
from paragone.values.models import Capabilities

__all__ = [
    "AssertionDiscovery",
    "Discovery",
    "PluginProblem",
    "discover",
    "discover_assertions",
]

LOADING_S = 20.0
"""Seconds that a plugin may take to be imported and to return what it has."""

RESERVED = ("type",)
"""Names that options of assertions cannot have, because suites use them. `not` is a keyword of Python anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginProblem:
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
    problems: tuple[PluginProblem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionDiscovery:
    """The assertions that were found, by name, and the plugins that failed."""

    assertions: Mapping[str, AnyAssertion]
    problems: tuple[PluginProblem, ...]


class _PluginError(Exception):
    """A plugin violates the interface; the message says how."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


def discover(only: str | None = None) -> Discovery:
    """Import plugins and return their backends: all, or those whose entry point is named `only`."""
    backends, problems = _discover(ENTRY_POINTS, "backend", _checked_backend, only)
    return Discovery(backends=backends, problems=problems)


def discover_assertions() -> AssertionDiscovery:
    """Import plugins and return their assertions."""
    assertions, problems = _discover(ASSERTION_ENTRY_POINTS, "assertion", _checked_assertion)
    return AssertionDiscovery(assertions=assertions, problems=problems)


def _discover(
    group: str, noun: str, check: Callable[[object], T], only: str | None = None
) -> tuple[dict[str, T], tuple[PluginProblem, ...]]:
    """Return what the plugins of a group of entry points bring, by name, and the plugins that failed.

    `check` returns its argument. It raises _PluginError if that violates the interface.
    """
    found: dict[str, T] = {}
    problems: list[PluginProblem] = []
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        if only is not None and point.name != only:
            continue
        # In a thread, because a plugin may hang, and so that Ctrl+C is not taken for the plugin's mistake.
        loading = in_daemon_thread(functools.partial(_load, point, noun, check))
        concurrent.futures.wait([loading], LOADING_S)
        try:
            if not loading.done():
                raise _PluginError(f"it was not loaded within {LOADING_S:g} seconds")
            for item in loading.result():
                if item.name in found:
                    raise _PluginError(f"another plugin has the {noun} name {item.name!r}")
                found[item.name] = item
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 (third-party code)
            package = point.dist.name if point.dist else ""
            problems.append(PluginProblem(plugin=point.name, package=package, reason=_reason(error)))
    return found, tuple(problems)


def _load(point: EntryPoint, noun: str, check: Callable[[object], T]) -> list[T]:
    manager = pluggy.PluginManager("paragone")
    manager.add_hookspecs(HookSpecs)
    manager.register(point.load(), name=point.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _PluginError(f"it implements a hook that does not exist ({error})") from error
    hook = getattr(manager.hook, f"paragone_{noun}s")
    found = [check(item) for answer in hook() for item in answer]
    if not found:
        raise _PluginError(f"it has no {noun}; is its hook marked with paragone.hooks.hookimpl?")
    return found


def _checked_backend(backend: object) -> Backend:
    if not isinstance(backend, Backend):
        raise _PluginError(f"{backend!r} is not a paragone.Backend")
    _check_name(backend.name, "backend")
    if backend.api_version != API_VERSION:
        raise _PluginError(
            f"its backend {backend.name!r} was written for version {backend.api_version} of the plugin "
            f"interface, and this paragone has version {API_VERSION}; update the older of the two"
        )
    what = f"its backend {backend.name!r}"
    for name, kind in (("title", str), ("capabilities", Capabilities)):
        if not isinstance(getattr(backend, name), kind):
            raise _PluginError(f"the {name} of {what} is not a {kind.__name__}")
    for name in ("load_options", "sampling"):
        _check_options(getattr(backend, name), f"the {name} of {what}")
    return backend


def _checked_assertion(assertion: object) -> AnyAssertion:
    if not isinstance(assertion, Assertion):
        raise _PluginError(f"{assertion!r} is not a paragone.assertions.Assertion")
    _check_name(assertion.name, "assertion")
    what = f"its assertion {assertion.name!r}"
    if not isinstance(assertion.summary, str):
        raise _PluginError(f"the summary of {what} is not a str")
    _check_options(assertion.options, f"the options of {what}")
    for field in dataclasses.fields(assertion.options):
        if field.name in RESERVED:
            raise _PluginError(f"{what} has an option named {field.name!r}, which suites use themselves")
        if "doc" not in field.metadata:
            raise _PluginError(f"the option {field.name!r} of {what} is not declared with paragone.option")
    return assertion


def _check_name(name: str, noun: str) -> None:
    if not name.isidentifier():
        raise _PluginError(f"{name!r} is not a valid {noun} name; it must be a Python identifier")


def _check_options(options: object, what: str) -> None:
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise _PluginError(f"{what} is not a class of Options")


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    first = text[0] if text else ""
    return first if isinstance(error, _PluginError) else f"{type(error).__name__}: {first}".rstrip(": ")
