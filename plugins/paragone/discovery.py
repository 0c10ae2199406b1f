"""Find the installed plugins and import their backends and assertions.

Each plugin has its own plugin manager. A plugin that fails is reported by name and does not affect other plugins. A
separate process imports the plugins of other packages first. A plugin that ends this process is skipped.
"""

import contextlib
import dataclasses
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import TypeVar

import pluggy

from paragone import errors, hooks, models, texts
from paragone.assertions import AnyAssertion, Assertion
from paragone.backend import API_VERSION, Backend
from paragone.options import Options
from paragone.worker.start import die_with_parent

_LONGEST_NAME = 100
"""Longest name, and title, of a backend or an assertion, in characters."""

RESERVED = ("type",)
"""Names that options of assertions cannot have, because suites use them. Python itself forbids the name `not`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginProblem:
    """A plugin that could not be used, and why."""

    plugin: str
    """The name of the plugin's entry point."""
    package: str
    """The distribution that the plugin belongs to."""
    reason: str

    @property
    def message(self) -> str:
        """The problem for the user."""
        package = self.package or "an unknown package"
        return f"The plugin {self.plugin} of {package} cannot be used: {self.reason.rstrip('.')}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The backends or the assertions that were found, by name, and the plugins that failed."""

    backends: Mapping[str, Backend] = field(default_factory=dict)
    assertions: Mapping[str, AnyAssertion] = field(default_factory=dict)
    problems: tuple[PluginProblem, ...]


T = TypeVar("T", Backend, AnyAssertion)


def discover(only: str | None = None) -> Discovery:
    """Import plugins and return their backends: all, or those whose entry point is named `only`."""
    backends, problems = _discover(hooks.ENTRY_POINTS, "backend", checked_backend, only)
    return Discovery(backends=backends, problems=problems)


def discover_assertions() -> Discovery:
    """Import plugins and return their assertions."""
    assertions, problems = _discover(hooks.ASSERTION_ENTRY_POINTS, "assertion", _checked_assertion)
    return Discovery(assertions=assertions, problems=problems)


def _discover(
    group: str, noun: str, check: Callable[[object], T], only: str | None = None
) -> tuple[dict[str, T], tuple[PluginProblem, ...]]:
    """Load the plugins of a group of entry points. Return their backends or assertions by name, and the problems.

    paragone's own plugins come first, so that no other plugin takes their names. `check` returns its argument, or
    raises InterfaceViolation if the argument violates the interface.
    """
    name_of = functools.cache(_name_of)  # parse the description of a package only once, for all its plugins
    plugins = [
        (name_of(point.dist), point)
        for point in _installed(tuple(map(_state, sys.path)))
        if point.group == group and only in (None, point.name)
    ]
    plugins.sort(key=lambda plugin: (plugin[0] != "paragone", plugin[1].name))
    found: dict[str, T] = {}
    own: set[str] = set()
    problems: list[PluginProblem] = []
    endings: dict[EntryPoint, str] | None = None
    for package, point in plugins:
        if package != "paragone":
            if only in own:
                break  # the name is taken
            if endings is None:
                endings = _endings([point for package, point in plugins if package != "paragone"])
        try:
            if endings and point in endings:
                raise errors.InterfaceViolation(endings[point])
            for item in _load(point, noun, check):
                if item.name in own and package != "paragone":
                    raise errors.InterfaceViolation(f"paragone has the {noun} {item.name!r} itself")
                if item.name in found:
                    raise errors.InterfaceViolation(f"another plugin has the {noun} name {item.name!r}")
                found[item.name] = item
        except BaseException as error:  # noqa: BLE001 (third-party code, which may raise SystemExit too)
            problems.append(PluginProblem(plugin=point.name, package=package, reason=_reason(error)))
        if package == "paragone":
            own = set(found)
    return found, tuple(problems)


_PATIENCE = 60.0
"""Seconds that a plugin has to be imported in a process of its own."""
_REMEMBERED = 200
"""Largest number of imported plugins that are remembered, including those of other environments and earlier versions."""


def _endings(points: list[EntryPoint]) -> dict[EntryPoint, str]:
    """Return the plugins that end or block the process that imports them, and how. A separate process imports the plugins.

    Each plugin that it has imported is remembered in the cache folder, until the packages in the plugin's folder change.

    """
    import platformdirs  # imported here because most users have no plugins of other packages

    file = platformdirs.user_cache_path("paragone") / "plugins"
    known: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        known = file.read_text().splitlines()
    folders = {point: str(point.dist.locate_file("")) if point.dist else "" for point in points}
    lines = {point: f"{point} {_state(folder)}" for point, folder in folders.items()}
    waiting = [point for point in points if lines[point] not in known]
    endings: dict[EntryPoint, str] = {}
    if not waiting:
        return endings
    while waiting:
        count, ending = _imported(waiting)
        known += (lines[point] for point in waiting[:count])
        endings |= dict.fromkeys(waiting[count : count + 1], ending)
        waiting = waiting[count + 1 :]
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.{os.getpid()}")
        new.write_text("".join(f"{line}\n" for line in known[-_REMEMBERED:]))
        new.replace(file)
    return endings


def _imported(points: list[EntryPoint]) -> tuple[int, str]:
    """Import plugins in a new process. Return how many it has imported, and how the next plugin ended or blocked it."""
    names = [part for point in points for part in (point.name, point.value, point.group)]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "paragone.discovery", str(os.getpid()), *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # without the terminal, whose settings the plugin could change
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=_PATIENCE * len(points),
        )
    except subprocess.TimeoutExpired as error:
        return len(error.stdout or b""), f"its import takes longer than {_PATIENCE:.0f} seconds"
    return len(done.stdout), f"its import ends the process, with exit code {done.returncode}"


def _import_each(parent: str, *names: str) -> None:
    """Import the plugins of these entry points, each with name, value and group, and write a byte after each of them."""
    die_with_parent(int(parent))
    output = os.dup(1)
    os.dup2(2, 1)  # for the output of plugins
    for name, value, group in zip(names[::3], names[1::3], names[2::3], strict=True):
        point = EntryPoint(name, value, group)
        with contextlib.suppress(BaseException):  # raised again, and reported, where the plugin is used
            if group == hooks.ENTRY_POINTS:
                _load(point, "backend", checked_backend)
            else:
                _load(point, "assertion", _checked_assertion)
        os.write(output, b".")
    os._exit(0)  # without waiting for threads of plugins


@functools.lru_cache(maxsize=1)
def _installed(path: tuple[object, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of both kinds of plugins. `path` is the state of `sys.path`, of which all packages are read."""
    found = entry_points()
    return (*found.select(group=hooks.ENTRY_POINTS), *found.select(group=hooks.ASSERTION_ENTRY_POINTS))


def _name_of(distribution: Distribution | None) -> str:
    """Return the name of a distribution; empty if it has no readable name. This parses its whole description."""
    try:
        return distribution.name if distribution else ""
    except UnicodeDecodeError:
        return ""


def _state(folder: str) -> tuple[str, int, int]:
    """Return a state that changes when a package is installed in a folder or removed."""
    try:
        found = Path(folder).stat()
    except OSError:
        return folder, 0, 0
    return folder, found.st_ino, found.st_mtime_ns


def _load(point: EntryPoint, noun: str, check: Callable[[object], T]) -> list[T]:
    manager = pluggy.PluginManager("paragone")
    manager.add_hookspecs(hooks)
    manager.register(point.load(), name=point.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise errors.InterfaceViolation(f"it implements a hook that does not exist ({error})") from error
    hook = getattr(manager.hook, f"paragone_{noun}s")
    found = [check(item) for answer in hook() for item in answer]
    if not found:
        raise errors.InterfaceViolation(f"it has no {noun}; is its hook marked with paragone.hooks.hookimpl?")
    return found


def checked_backend(backend: object) -> Backend:
    """Return a backend. Raises InterfaceViolation unless the backend's name, title, version and options are valid."""
    if not isinstance(backend, Backend):
        raise errors.InterfaceViolation(f"{backend!r} is not a paragone.Backend")
    _check_name(backend.name, "backend")
    what = f"its backend {backend.name!r}"
    if backend.api_version != API_VERSION:
        raise errors.InterfaceViolation(
            f"{what} was written for version {backend.api_version} of the plugin "
            f"interface, and this paragone has version {API_VERSION}; update the older of the two"
        )
    if not isinstance(backend.title, str):
        raise errors.InterfaceViolation(f"the title of {what} is not a str")
    if len(backend.title) > _LONGEST_NAME:
        raise errors.InterfaceViolation(f"the title of {what} has {len(backend.title):,} characters")
    if not isinstance(backend.capabilities, models.Capabilities):
        raise errors.InterfaceViolation(f"the capabilities of {what} is not a Capabilities")
    _check_options(backend.load_options, f"the load_options of {what}")
    _check_options(backend.sampling, f"the sampling of {what}")
    return backend


def _checked_assertion(assertion: object) -> AnyAssertion:
    if not isinstance(assertion, Assertion):
        raise errors.InterfaceViolation(f"{assertion!r} is not a paragone.assertions.Assertion")
    _check_name(assertion.name, "assertion")
    what = f"its assertion {assertion.name!r}"
    if not isinstance(assertion.summary, str):
        raise errors.InterfaceViolation(f"the summary of {what} is not a str")
    _check_options(assertion.options, f"the options of {what}")
    for option in dataclasses.fields(assertion.options):
        if option.name in RESERVED:
            raise errors.InterfaceViolation(
                f"{what} has an option named {option.name!r}, which suites use themselves"
            )
        if "doc" not in option.metadata:
            raise errors.InterfaceViolation(
                f"the option {option.name!r} of {what} is not declared with paragone.option"
            )
    return assertion


def _check_name(name: str, noun: str) -> None:
    if len(name) > _LONGEST_NAME:
        raise errors.InterfaceViolation(f"a {noun} name has {len(name):,} characters")
    if not name.isidentifier():
        raise errors.InterfaceViolation(
            f"{name!r} is not a valid {noun} name; it must be a Python identifier"
        )


def _check_options(options: object, what: str) -> None:
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise errors.InterfaceViolation(f"{what} is not a class of Options")


def _reason(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 (a plugin's exception can fail when it is shown)
        lines = []
    first = texts.shortened(lines[0], 300) if lines else ""
    kind = "" if isinstance(error, errors.InterfaceViolation) else f"{type(error).__name__}: "
    return f"{kind}{first}".rstrip(": ")


if __name__ == "__main__":
    _import_each(*sys.argv[1:])
