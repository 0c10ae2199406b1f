"""The virtual environments of backends on this machine: which environment an engine runs in, and how uv creates
environments."""

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import paragone
from paragone import checks, json_values, worker
from paragone_workbench.engines.failures import naming
from paragone_workbench.paths import accessible, data_folder, private_folder

MARKER = "paragone.json"
"""A file in every complete environment: it records what the environment was created for."""

_DRIVER = Path("/proc/driver/nvidia/version")


def declared_environment(backend: paragone.Backend) -> worker.Environment | None:
    """Return the environment that a backend declares; None if it needs none."""
    return backend.environment if isinstance(backend, worker.NativeBackend) else None


def environment_folder(name: str) -> Path:
    return data_folder() / "environments" / name


def interpreter(backend: paragone.Backend, chosen: str | None) -> str | None:
    """Return the interpreter for a backend's worker: `chosen`, else the environment's; None for paragone's own."""
    if chosen is not None or declared_environment(backend) is None:
        return chosen
    folder = environment_folder(backend.name)
    return str(folder / "bin/python") if is_complete(folder) else None


def is_complete(folder: Path) -> bool:
    """Whether an environment is complete, and its interpreter exists."""
    return accessible(folder / MARKER) and accessible(folder / "bin/python")


def packages(build: worker.Build) -> tuple[str, ...]:
    """Return the requirements in a build's file."""
    lines = (line.partition(" #")[0].strip() for line in build.requirements.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledEnvironment:
    """An environment on this machine: the CUDA version and the requirements that it was created for, and its bytes on disk."""

    name: str
    folder: Path
    complete: bool
    cuda: str
    outdated: bool
    """Whether the backend now declares other requirements."""
    size: int


def list_installed(backends: Mapping[str, paragone.Backend]) -> Iterator[InstalledEnvironment]:
    """Yield the environments on this machine, sorted by name, including those of backends that are not installed."""
    with contextlib.suppress(OSError):
        for folder in sorted(environment_folder("").iterdir()):
            if not folder.is_dir() or folder.name.startswith("."):
                continue
            marker: paragone.Json = None
            with contextlib.suppress(OSError, ValueError):
                marker = json.loads((folder / MARKER).read_text())
            backend = backends.get(folder.name)
            environment = None if backend is None else declared_environment(backend)
            current = [{*packages(build)} for build in environment.builds] if environment else []
            installed = {*json_values.texts_at(marker, "requirements")}
            yield InstalledEnvironment(
                name=folder.name,
                folder=folder,
                complete=isinstance(marker, dict) and is_complete(folder),
                cuda=json_values.text_at(marker, "cuda"),
                outdated=bool(marker and current) and installed not in current,
                size=sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPlan:
    """How an environment would be created. `python` is an interpreter, or a range of versions in uv's syntax. `free` is
    the free space on the disk in bytes. `warning` is a known reason why this machine could not use it; else empty.

    """

    backend: paragone.Backend
    folder: Path
    build: worker.Build
    uv: tuple[str, ...]
    python: str
    find_links: Path | None
    free: int
    warning: str


def plan(
    backend: paragone.Backend,
    *,
    cuda: str | None = None,
    python: str | None = None,
    find_links: str | None = None,
) -> EnvironmentPlan:
    """Return how the environment of a backend would be created, without creating it. Raises InputError. `cuda` is a
    major version, by default the newest that this machine's driver supports. `find_links` is a folder of wheels to
    install from, without an index."""
    title, folder = backend.title, environment_folder(backend.name)
    if (environment := declared_environment(backend)) is None:
        hint = f"{title} uses the packages that are installed with paragone."
        raise paragone.InputError(f"{title} needs no environment of its own.", hint=hint)
    links = None if find_links is None else Path(find_links).expanduser().absolute()
    if links is not None and not links.is_dir():
        raise paragone.InputError(
            f"There is no folder {links}.", hint="--find-links needs a folder of wheels."
        )
    driver, builds = _driver(), {build.cuda: build for build in environment.builds}
    if cuda is None:  # without a driver, take the newest: the environment may be for another machine
        able = (build.cuda for build in environment.builds if driver is None or build.driver <= driver)
        cuda = next(able, environment.builds[-1].cuda)
    if cuda not in builds:
        hint = f"Use CUDA {' or '.join(builds)}."
        raise paragone.InputError(f"There is no environment of {title} for CUDA {cuda}.", hint=hint)
    build = builds[cuda]
    program = shutil.which("uv")
    if program is None and importlib.util.find_spec("uv") is None:
        hint = "Install it, for example with `pip install uv`; see https://docs.astral.sh/uv."
        raise paragone.InputError("Environments are created by uv, which is not installed.", hint=hint)
    uv = (program,) if program else (sys.executable, "-m", "uv")
    warning = ""
    if driver is None:
        warning = f"There is no NVIDIA driver on this machine: {title} will find no GPU here."
    elif driver < build.driver:
        warning = f"CUDA {build.cuda} needs NVIDIA driver {build.driver} or newer; this machine has {driver}."
    if python is not None and os.sep in python:
        python = str(Path(python).expanduser().absolute())
    minors = [int(version.partition(".")[2]) for version in environment.pythons]
    existing = next(path for path in folder.parents if os.access(path, os.F_OK))
    return EnvironmentPlan(
        backend=backend,
        folder=folder,
        build=build,
        uv=uv,
        python=python or f">=3.{min(minors)},<3.{max(minors) + 1}",
        find_links=links,
        free=shutil.disk_usage(existing).free,
        warning=warning,
    )


def _driver() -> int | None:
    """Return the major version of the NVIDIA driver; None if there is no driver."""
    try:
        found = re.search(r"\s(\d{3,})\.\d+", _DRIVER.read_text())
    except OSError:  # the file exists only on Linux without WSL2
        from paragone_workbench.machine import find_gpus

        gpus, _ = asyncio.run(find_gpus())
        found = re.match(r"(\d{3,})\.", gpus[0].driver) if gpus else None
    return int(found[1]) if found else None


def create(plan: EnvironmentPlan) -> None:
    """Create an environment, and check it. uv's messages go to standard error. Raises EngineError.

    An existing environment is replaced once the new one is installed. What is unfinished is deleted, whatever ends this call.
    """
    folder, new, old = plan.folder, _beside(plan.folder, "new"), _beside(plan.folder, "old")
    requirements, wheels = packages(plan.build), {}
    hint = "Check that this machine can reach uv's package index, or install from a folder of wheels with --find-links."
    if plan.find_links is not None:
        wheels = {"UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(plan.find_links)}
        hint = f"{plan.find_links} must contain the wheels of {', '.join(requirements)} and of their dependencies."
    # relocatable, because the folder gets its final name when it is complete
    venv = (*plan.uv, "venv", "--no-project", "--relocatable", "--python", plan.python, str(new))
    pip = (
        *plan.uv,
        "pip",
        "install",
        "--python",
        str(new / "bin/python"),
        "-r",
        str(plan.build.requirements),
    )
    private_folder(folder.parent)
    failed = f"The environment of {plan.backend.title} could not be created"
    try:
        _delete(new)  # left by a program that was killed
        _run(venv, new, **wheels)
        _run(pip, new, **wheels)
        if plan.build.toolkit:
            _use_toolkit(new, folder, plan.build.toolkit)
        marker = {"cuda": plan.build.cuda, "requirements": requirements, "python": plan.python}
        (new / MARKER).write_text(json.dumps(marker, indent=1) + "\n")
        _delete(old)
        if os.path.lexists(folder):
            folder.rename(old)
        new.rename(folder)
        _delete(old)
    except subprocess.CalledProcessError as error:
        message = f"{failed}: uv ended with exit code {error.returncode}; its output above gives the reason."
        raise paragone.EngineError(message, hint=hint) from error
    except OSError as error:
        raise paragone.EngineError(f"{failed}: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            _delete(new)
    check(plan.backend)


def _use_toolkit(new: Path, folder: Path, toolkit: str) -> None:
    """Make compilers in an environment use the CUDA toolkit in its `site-packages`. `folder` is the final place of
    the environment."""
    (site,) = new.glob("lib/python3*/site-packages")
    for runtime in (site / toolkit).glob("lib/libcudart.so.*"):  # linkers need this name
        runtime.with_name("libcudart.so").symlink_to(runtime.name)
    # Python runs this line at each start: in the engine's worker and in the check.
    home = folder / site.relative_to(new) / toolkit
    (site / "paragone_cuda.pth").write_text(f"import os; os.environ['CUDA_HOME'] = {str(home)!r}\n")


def check(backend: paragone.Backend) -> None:
    """Import the backend's library in its environment. Raises InputError if there is no complete environment, and
    EngineError if a module cannot be imported."""
    title, folder = backend.title, environment_folder(backend.name)
    environment = declared_environment(backend)
    if environment is None or not is_complete(folder):
        missing = f"{title} has no environment on this machine, or an incomplete one."
        raise paragone.InputError(missing, hint=f"Create it with: paragone env create {backend.name}.")
    python = str(folder / "bin/python")
    for module in environment.modules:
        try:
            _run([python, "-I", "-c", f"import {module}"], folder)
        except subprocess.CalledProcessError as error:
            with naming(backend.name):  # the backend knows common reasons and remedies
                probe = checks.check_value(paragone.Probe, asyncio.run(backend.probe(python)))
            reason, remedy = probe.reason, probe.remedy
            if probe.usable:
                reason, remedy = (
                    "Python's output above gives the reason.",
                    f"Check again with: paragone env check {backend.name}.",
                )
            failed = f"The environment of {title} is installed, but {module} cannot be imported in it"
            raise paragone.EngineError(f"{failed}: {reason}", hint=remedy) from error


def remove(name: str) -> int:
    """Delete an environment and return the number of freed bytes. Raises ParagoneError; InputError if there is no
    such environment."""
    installed = {environment.name: environment.size for environment in list_installed({})}
    if name not in installed:
        hint = "`paragone env list` lists the environments."
        raise paragone.InputError(f"There is no environment {name!r}.", hint=hint)
    folder = environment_folder(name)
    try:
        _delete(_beside(folder, "old"))
        _delete(folder.rename(_beside(folder, "old")))  # a partly deleted one has no marker
    except OSError as error:
        raise paragone.ParagoneError(f"{folder} cannot be deleted: {error.strerror or error}.") from error
    return installed[name]


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")


def _delete(folder: Path) -> None:
    """Delete a folder, if it exists. For a link, delete only the link."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _run(command: Sequence[str], folder: Path, **variables: str) -> None:
    """Run a program of an environment. An exception ends it and its child processes. Raises CalledProcessError."""
    path = os.pathsep.join((str(folder / "bin"), os.environ.get("PATH", os.defpath)))
    sys.stderr.flush()
    process = None
    try:
        with _handlers_called_later():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                stderr=sys.stderr,
                start_new_session=True,
                env={**os.environ, **variables, "PATH": path},
                cwd=folder.parent,  # not the current folder, from which Python would import modules
            )
        status = process.wait()
    finally:
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if status:
        raise subprocess.CalledProcessError(status, command)


@contextlib.contextmanager
def _handlers_called_later() -> Iterator[None]:
    """Call the handlers of signals that arrive in the block at the block's end. In the block, an exception of a handler
    would leave a program that has started and is not yet known."""
    arrived: list[int] = []
    handlers = {
        number: handler
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
        if callable(handler := signal.getsignal(number))
    }
    for number in handlers:
        signal.signal(number, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for it in arrived:
            signal.raise_signal(it)
