"""The virtual environments of backends on this machine: which one an engine runs in, and how they are created and removed."""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import paragone
from paragone import checks, json_values, texts, worker
from paragone.worker.process import output_of
from paragone_workbench.engines.failures import naming
from paragone_workbench.paths import accessible, data_folder, private_folder

MARKER = "paragone.json"
"""A file that is written at the end of an installation. An environment without this file is incomplete."""

_DRIVER = Path("/proc/driver/nvidia/version")
_HEARTBEAT_S = 0.1
"""Seconds between two steps, so that the caller can stop a silent program."""


def declared_environment(backend: paragone.Backend) -> worker.Environment | None:
    """Return the environment that a backend declares; None if it needs none."""
    environment = getattr(backend, "environment", None)
    return environment if isinstance(environment, worker.Environment) else None


def environment_folder(name: str) -> Path:
    return data_folder() / "environments" / name


def interpreter(backend: paragone.Backend, chosen: str | None) -> str | None:
    """Return the interpreter for a backend's worker: `chosen`, or the environment's, or None for paragone's own."""
    if chosen is not None or declared_environment(backend) is None:
        return chosen
    folder = environment_folder(backend.name)
    return str(folder / "bin/python") if is_complete(folder) else None


def is_complete(folder: Path) -> bool:
    """Whether an environment's installation was finished, and its interpreter exists."""
    return accessible(folder / MARKER) and accessible(folder / "bin/python")


def packages(build: worker.Build) -> tuple[str, ...]:
    """Return the requirements in a build's file."""
    lines = (line.partition(" #")[0].strip() for line in build.requirements.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledEnvironment:
    name: str
    folder: Path
    complete: bool
    cuda: str
    """The major version of CUDA that the environment was created for."""
    outdated: bool
    """Whether the backend declares other requirements now."""
    size: int
    """Bytes on disk."""


def list_installed(backends: Mapping[str, paragone.Backend]) -> tuple[InstalledEnvironment, ...]:
    """Return the environments on this machine, sorted by name, also the environments of backends that are not installed."""
    try:
        paths = environment_folder("").iterdir()
        folders = sorted(path for path in paths if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return ()
    return tuple(_found(folder, backends.get(folder.name)) for folder in folders)


def _found(folder: Path, backend: paragone.Backend | None) -> InstalledEnvironment:
    marker: paragone.Json = None
    with contextlib.suppress(OSError, ValueError):
        marker = json.loads((folder / MARKER).read_text())
    environment = None if backend is None else declared_environment(backend)
    current = [{*packages(build)} for build in environment.builds] if environment else []
    return InstalledEnvironment(
        name=folder.name,
        folder=folder,
        complete=isinstance(marker, dict) and is_complete(folder),
        cuda=json_values.text_at(marker, "cuda"),
        outdated=bool(marker and current) and {*json_values.texts_at(marker, "requirements")} not in current,
        size=_size_of(folder),
    )


def _size_of(folder: Path) -> int:
    """Return the bytes on disk that a folder's files use; a file with several hard links counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                status = Path(parent, name).lstat()
                sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPlan:
    """How an environment would be created."""

    backend: paragone.Backend
    folder: Path
    build: worker.Build
    python: str
    """The interpreter to create the environment with."""
    find_links: Path | None
    free: int
    replaces: bool
    warnings: tuple[str, ...]
    """Sentences on what would prevent the use of the environment on this machine."""


def plan(
    backend: paragone.Backend,
    *,
    cuda: str | None = None,
    python: str | None = None,
    find_links: str | None = None,
) -> EnvironmentPlan:
    """Return how the environment of a backend would be created. Nothing is changed.

    `cuda` is a major version, by default the newest that this machine's driver supports. `python` is an
    interpreter. `find_links` is a folder of wheels to install from without an index. Raises InputError.
    """
    title, folder, environment = (
        backend.title,
        environment_folder(backend.name),
        declared_environment(backend),
    )
    if environment is None:
        hint = f"{title} uses the packages that are installed with paragone."
        raise paragone.InputError(f"{title} needs no environment of its own.", hint=hint)
    driver = _driver()
    build = _build(environment, cuda, title, driver)
    links = None if find_links is None else Path(find_links).expanduser().absolute()
    if links is not None and not links.is_dir():
        raise paragone.InputError(
            f"There is no folder {links}.", hint="--find-links needs a folder of wheels."
        )
    if os.path.islink(folder):  # noqa: PTH114 (raises no error if access is denied)
        hint = "Delete the link. To run engines in another interpreter, set `python` in their definitions."
        raise paragone.InputError(f"{folder} is a symbolic link, whose target would be deleted.", hint=hint)
    replaces = is_complete(folder)
    free = shutil.disk_usage(next(path for path in folder.parents if os.access(path, os.F_OK))).free
    if free < build.disk:
        hint = "Free some space, or set XDG_DATA_HOME to a folder on a larger disk."
        if replaces:
            hint = f"Remove the existing environment first: paragone env remove {backend.name}. {hint}"
        sizes = (
            f"about {texts.size_text(build.disk)}, but {texts.size_text(free)} are free in {folder.parent}"
        )
        raise paragone.InputError(f"The environment of {title} needs {sizes}.", hint=hint)
    return EnvironmentPlan(
        backend=backend,
        folder=folder,
        build=build,
        python=_python(environment, python, title),
        find_links=links,
        free=free,
        replaces=replaces,
        warnings=tuple(_warnings(environment, build, title, driver)),
    )


def _build(environment: worker.Environment, cuda: str | None, title: str, driver: int | None) -> worker.Build:
    if cuda is None:
        # Without a driver, any build is allowed: the environment may be for another machine.
        able = (build for build in environment.builds if driver is None or build.driver <= driver)
        return next(able, environment.builds[-1])
    for build in environment.builds:
        if build.cuda == cuda:
            return build
    available = " or ".join(build.cuda for build in environment.builds)
    raise paragone.InputError(
        f"There is no environment of {title} for CUDA {cuda}.", hint=f"Use CUDA {available}."
    )


def _warnings(
    environment: worker.Environment, build: worker.Build, title: str, driver: int | None
) -> Iterator[str]:
    if driver is None:
        yield f"There is no NVIDIA driver on this machine: {title} will find no GPU here."
    elif driver < build.driver:
        yield f"CUDA {build.cuda} needs NVIDIA driver {build.driver} or newer; this machine has {driver}."
    if not environment.compiles:
        return
    compiles = f"{title} compiles its CUDA extension at its first use"
    if driver is None and not os.environ.get("TORCH_CUDA_ARCH_LIST"):
        yield (
            f"{compiles}, for the GPUs of this machine. To compile the extension here for another machine, "
            "set TORCH_CUDA_ARCH_LIST to the compute capability of its GPUs, such as 8.6+PTX."
        )
    if shutil.which("c++") is None and shutil.which("g++") is None:
        yield f"There is no C++ compiler on this machine. {compiles}: install g++."
    homes = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    places = os.pathsep.join([*(f"{home}/bin" for home in homes if home), os.environ.get("PATH", os.defpath)])
    if not build.toolkit and shutil.which("nvcc", path=places) is None:
        yield (
            f"There is no CUDA compiler (nvcc) on this machine. {compiles}: install the toolkit of "
            f"CUDA {build.cuda}, or a wheel that contains the extension."
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


def _python(environment: worker.Environment, chosen: str | None, title: str) -> str:
    """Return the interpreter that the user chose, or else the best one on this machine. Raises InputError."""
    wanted = " or ".join(environment.pythons)
    if chosen is not None:
        path = shutil.which(str(Path(chosen).expanduser().absolute()) if os.sep in chosen else chosen)
        if path is None or (version := _version(path)) is None:
            hint = "--python needs the path of an interpreter."
            raise paragone.InputError(f"{chosen} is not a Python interpreter.", hint=hint)
        if version not in environment.pythons:
            raise paragone.InputError(f"{title} needs Python {wanted}, but {chosen} is Python {version}.")
        return path
    for version in environment.pythons:
        # The one on the path may be a script, as pyenv's, that starts another one slowly, or none.
        own = sys.executable if version == f"{sys.version_info[0]}.{sys.version_info[1]}" else None
        for path in (own, shutil.which(f"python{version}")):
            if path and _version(path) == version:
                return path
    hint = "Name an interpreter with --python PATH."
    raise paragone.InputError(f"{title} needs Python {wanted}, and no such interpreter was found.", hint=hint)


def _version(python: str) -> str | None:
    """Return the version of a Python interpreter, such as `3.12`; None if the program is no Python interpreter."""
    command = (python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    try:
        _, output = asyncio.run(output_of(command, seconds=30, longest=1 << 14))
    except OSError:  # also after the time
        return None
    found = re.fullmatch(r"(\d+\.\d+)\s*", output)
    return found[1] if found else None


class InstallStep(NamedTuple):
    stage: str
    """create, install or check."""
    line: str
    """The program's last output line, unfiltered: it may contain control characters."""
    seconds: float
    """Seconds since the stage began."""


class _CommandFailed(Exception):
    """A program failed. The message is the reason that the program printed."""


def create(plan: EnvironmentPlan) -> Generator[InstallStep, None, None]:
    """Create an environment, yielding the steps as they happen.

    An existing environment is replaced once the new environment is installed, and is kept if the installation fails.
    Closing the generator ends the running program and deletes the new files. Raises InputError
    if another process has locked the environment, and EngineError if the installation fails.
    """
    private_folder(plan.folder.parent)
    folder, requirements = plan.folder, packages(plan.build)
    python = str(folder / "bin/python")
    source = [] if plan.find_links is None else ["--no-index", "--find-links", str(plan.find_links)]
    source += ["-r", str(plan.build.requirements)]
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--no-project", "--python", plan.python, str(folder)]
        install = [uv, "pip", "install", "--python", python, *source]
    else:
        make = [plan.python, "-m", "venv", str(folder)]
        pip = [python, "-m", "pip", "install", "--no-input", "--progress-bar=off"]
        install = [*pip, "--disable-pip-version-check", *source]
    failed = f"The environment of {plan.backend.title} could not be created"
    with _exclusive_lock(plan.backend.name) as lock:
        try:
            with _replacing(folder):
                yield from _run("create", make, folder, lock)
                (folder / "tmp").mkdir()  # on the disk whose free space was checked: /tmp may be too small
                yield from _run("install", install, folder, lock, TMPDIR=str(folder / "tmp"))
                shutil.rmtree(folder / "tmp")
                if plan.build.toolkit:
                    _use_toolkit(folder, plan.build.toolkit)
                marker = {"cuda": plan.build.cuda, "requirements": requirements, "python": plan.python}
                (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n")
        except _CommandFailed as error:
            hint = (
                "Check that this machine can reach the package index that pip or uv is configured to use. "
                "Without a network, install from a folder of wheels with --find-links."
            )
            if plan.find_links is not None:
                wheels = f"the wheels of {', '.join(requirements)} and of their dependencies"
                hint = f"{plan.find_links} must contain {wheels}."
            raise paragone.EngineError(f"{failed}: {error}", hint=hint) from error
        except OSError as error:
            raise paragone.EngineError(f"{failed}: {error.strerror or error}.") from error
        yield from check(plan.backend)


def _use_toolkit(folder: Path, toolkit: str) -> None:
    """Make compilations in an environment use the CUDA toolkit in its `site-packages`."""
    (site,) = folder.glob("lib/python3*/site-packages")
    home = site / toolkit
    for runtime in home.glob("lib/libcudart.so.*"):  # the wheels lack the name that linkers use
        (home / "lib/libcudart.so").symlink_to(runtime.name)
    # Python runs this line at each start: in the engine's worker, in the check, and in pip when it compiles.
    (site / "paragone_cuda.pth").write_text(f"import os; os.environ['CUDA_HOME'] = {str(home)!r}\n")


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[None]:
    """Move the existing environment away, and restore it if the block raises."""
    old = _beside(folder, "old")
    if is_complete(folder):
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    else:  # `old` may exist: a program that was killed had moved the environment there
        shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check(backend: paragone.Backend) -> Generator[InstallStep, None, None]:
    """Import the backend's library in its environment, yielding the steps as they happen.

    Raises InputError if there is no complete environment, and EngineError if a module cannot be imported.
    """
    title, folder, environment = (
        backend.title,
        environment_folder(backend.name),
        declared_environment(backend),
    )
    if environment is None or not is_complete(folder):
        hint = f"Create it with: paragone env create {backend.name}."
        raise paragone.InputError(
            f"{title} has no environment on this machine, or an incomplete one.", hint=hint
        )
    python = str(folder / "bin/python")
    for module in environment.modules:
        try:
            yield from _run("check", [python, "-I", "-c", f"import {module}"], folder)
        except _CommandFailed as error:
            with naming(backend.name):  # the backend knows the usual reasons and remedies
                probe = checks.check_value(paragone.Probe, asyncio.run(backend.probe(python)))
            reason, remedy = probe.reason, probe.remedy
            if probe.usable:
                reason = str(error)
                remedy = f"Once this is fixed, check again with: paragone env check {backend.name}."
            sentence = (
                f"The environment of {title} is installed, but {module} cannot be imported in it: {reason}"
            )
            raise paragone.EngineError(sentence, hint=remedy) from error


def remove(name: str) -> int:
    """Delete an environment and return the number of freed bytes.

    Raises InputError if the environment does not exist or is locked, and ParagoneError if it cannot be deleted.
    """
    from paragone_workbench.engines.definitions import suggest

    installed = {environment.name: environment.size for environment in list_installed({})}
    if name not in installed:
        hint = suggest(name, installed) if installed else "There are no environments on this machine."
        raise paragone.InputError(f"There is no environment {name!r}.", hint=hint)
    folder = environment_folder(name)
    with _exclusive_lock(name):
        try:
            if folder.is_symlink():  # the target may belong to somebody else: delete only the link
                folder.unlink()
                return 0
            # the marker first, so that a partly deleted environment is not used
            (folder / MARKER).unlink(missing_ok=True)
            shutil.rmtree(folder)
        except OSError as error:
            raise paragone.ParagoneError(f"{folder} cannot be deleted: {error.strerror or error}.") from error
        shutil.rmtree(_beside(folder, "old"), ignore_errors=True)
    return installed[name]


@contextlib.contextmanager
def _exclusive_lock(name: str) -> Iterator[int]:
    """Lock the environment of this name, and yield the descriptor: a child process that inherits it holds the lock.

    Raises InputError if another process has locked the environment, and ParagoneError on other errors.
    """
    folder = environment_folder(name)
    try:
        lock = _beside(folder, "lock").open("a")
    except OSError as error:
        hint = "Check the permissions and the free space there, or set XDG_DATA_HOME to another folder."
        sentence = f"{folder.parent} cannot be written to: {error.strerror or error}."
        raise paragone.ParagoneError(sentence, hint=hint) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            sentence = f"The environment {name} is already being created or removed."
            raise paragone.InputError(sentence, hint="Try again later.") from error
        yield lock.fileno()


def _run(
    stage: str, command: Sequence[str], folder: Path, lock: int | None = None, **variables: str
) -> Iterator[InstallStep]:
    """Run a program with the variables of an environment, and yield its last output line several times a second.

    The program holds the lock even if this process ends. Raises _CommandFailed.
    """
    variables = {
        **os.environ,
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": str(folder),
        **variables,
    }
    variables["PATH"] = os.pathsep.join((str(folder / "bin"), variables.get("PATH", os.defpath)))
    for name in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"):
        variables.pop(name, None)
    started, shown = time.monotonic(), command[-1] if stage == "check" else " ".join(command)
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=variables,
                cwd=folder.parent,  # not the current folder, from which Python would import modules
                pass_fds=() if lock is None else (lock,),
            )
        except OSError as error:
            raise _CommandFailed(f"{command[0]} cannot be started: {error.strerror or error}.") from error
        tail: list[str] = []
        ended = False
        try:
            while not ended:
                ended = process.poll() is not None
                tail = _last_lines(output.fileno())
                yield InstallStep(stage, tail[-1] if tail else shown, time.monotonic() - started)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_HEARTBEAT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the program and its child processes
                process.wait()
        if process.returncode:
            # the lines from the first error on, or else the last line
            signs = ("error", "×", "x ", "the virtual environment was not created")
            first = (at for at, line in enumerate(tail) if line.lower().startswith(signs))
            reason = " ".join(tail[next(first, -1) :])
            raise _CommandFailed(reason or f"{command[0]} ended with exit code {process.returncode}.")


def _last_lines(output: int) -> list[str]:
    """Return the last lines of a file that a program writes."""
    end = os.pread(output, 1 << 12, max(0, os.fstat(output).st_size - (1 << 12)))
    return [line for text in end.decode(errors="replace").splitlines() if (line := text.strip())][-8:]
