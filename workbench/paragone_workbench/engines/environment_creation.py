"""Plans, creates, checks and removes environments. Only one program at a time creates or removes an environment."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragone import Backend, EngineError, InputError, ParagoneError
from paragone.texts import size_text
from paragone.worker import Build, Environment
from paragone_workbench.engines import environments, questions
from paragone_workbench.engines.definitions import suggest
from paragone_workbench.machine import find_gpus
from paragone_workbench.paths import private_folder

_DRIVER = Path("/proc/driver/nvidia/version")

_MAX_OUTPUT = 1 << 14
"""Maximum number of characters to read of a program's version output."""
_OUTPUT_S = 30.0
"""Seconds that a program may take to print its version."""
_HEARTBEAT = 0.1
"""Seconds after which a step is yielded again if the program prints nothing, so that the caller can stop it."""
_CLEANUP_S = 5.0
"""Seconds that an interrupted program has to delete its temporary files."""
_LONGEST_LINE = 1 << 12
"""Number of bytes of an output line to keep, its last ones."""
_TAIL = 8
"""Number of last output lines of a failed program to search for the reason."""

_VARIABLES = ("CUDA_HOME", "CUDA_PATH")
"""Variables by which PyTorch (`torch.utils.cpp_extension`) finds a toolkit, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallStep:
    stage: str
    """create, install or check."""
    line: str
    """The program's last output line, unfiltered: it may contain control characters."""
    seconds: float
    """Seconds since the stage began."""


class _CommandFailed(Exception):
    """A program failed. The message is the reason that the program printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPlan:
    """How an environment would be created, with the download and the disk space that this takes."""

    backend: Backend
    folder: Path
    build: Build
    python: str
    """The interpreter to create the environment with."""
    uv: str | None
    find_links: Path | None
    free: int
    replaces: bool
    warnings: tuple[str, ...] = ()
    """Sentences on what would prevent the use of the environment on this machine."""


def plan(
    backend: Backend, *, cuda: str | None = None, python: str | None = None, find_links: str | None = None
) -> EnvironmentPlan:
    """Return how the environment of a backend would be created. Nothing is changed.

    `cuda` is a major version, by default the newest that this machine's driver supports. `python` is an
    interpreter. `find_links` is a folder of wheels to install from without an index. Raises InputError.
    """
    environment = environments.declared_environment(backend)
    if environment is None:
        raise InputError(
            f"{backend.title} needs no environment of its own.",
            hint=f"{backend.title} uses the packages that are installed with paragone.",
        )
    driver, compiler = _driver(), _compiler() if environment.compiles else None
    build = _build(environment, cuda, backend.title, driver, compiler)
    links = None if find_links is None else Path(find_links).expanduser().absolute()
    if links is not None and not links.is_dir():
        raise InputError(f"There is no folder {links}.", hint="--find-links needs a folder of wheels.")
    folder = environments.environment_folder(backend.name)
    if os.path.islink(folder):  # noqa: PTH114 (raises no error if access is denied)
        raise InputError(
            f"{folder} is a symbolic link, whose target would be deleted.",
            hint="Delete the link. To run engines in another interpreter, set `python` in their definitions.",
        )
    replaces = environments.is_complete(folder)
    existing = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    free = shutil.disk_usage(existing).free
    if free < build.disk:
        hint = "Free some space, or set XDG_DATA_HOME to a folder on a larger disk."
        if replaces:
            hint = f"Remove the existing environment first: paragone env remove {backend.name}. {hint}"
        raise InputError(
            f"The environment of {backend.title} needs about {size_text(build.disk)}, but {size_text(free)} are free "
            f"in {folder.parent}.",
            hint=hint,
        )
    return EnvironmentPlan(
        backend=backend,
        folder=folder,
        build=build,
        python=_python(environment, python, backend.title),
        uv=shutil.which("uv"),
        find_links=links,
        free=free,
        replaces=replaces,
        warnings=tuple(_warnings(environment, build, backend.title, driver, compiler)),
    )


def _build(
    environment: Environment, cuda: str | None, title: str, driver: int | None, compiler: str | None
) -> Build:
    if cuda is not None:
        for build in environment.builds:
            if build.cuda == cuda:
                return build
        available = " or ".join(build.cuda for build in environment.builds)
        raise InputError(
            f"There is no environment of {title} for CUDA {cuda}.", hint=f"Use CUDA {available}."
        )
    # Without a driver, any build is allowed: the environment may be for another machine.
    able = [build for build in environment.builds if driver is None or build.driver <= driver]
    if not able:
        return environment.builds[-1]
    return next((build for build in able if _has_compiler(build, compiler)), able[0])


def _has_compiler(build: Build, compiler: str | None) -> bool:
    """Whether there is a CUDA compiler for a build: this machine's, of version `compiler`, or the build's own if the user has chosen no toolkit."""
    return compiler == build.cuda or (bool(build.toolkit) and _chosen_home() is None)


def _warnings(
    environment: Environment, build: Build, title: str, driver: int | None, compiler: str | None
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
    if _has_compiler(build, compiler):
        return
    if compiler is None:
        yield (
            f"There is no CUDA compiler (nvcc) on this machine. {compiles}: install the toolkit of "
            f"CUDA {build.cuda}, or a wheel that contains the extension."
        )
    else:
        own = " Unset CUDA_HOME and CUDA_PATH to use the environment's own compiler." if build.toolkit else ""
        yield (
            f"The CUDA compiler (nvcc) on this machine is for CUDA {compiler}: {title} needs one for "
            f"CUDA {build.cuda}.{own}"
        )


def _driver() -> int | None:
    """Return the major version of the NVIDIA driver; None if there is no driver."""
    try:
        found = re.search(r"\s(\d{3,})\.\d+", _DRIVER.read_text())
    except OSError:  # the file exists only on Linux without WSL2
        gpus, _ = asyncio.run(find_gpus())
        found = re.match(r"(\d{3,})\.", gpus[0].driver) if gpus else None
    return int(found[1]) if found else None


def _chosen_home() -> str | None:
    """Return the folder of the CUDA toolkit that the user's environment variables name, if any."""
    return next((chosen for name in _VARIABLES if (chosen := os.environ.get(name))), None)


def _compiler() -> str | None:
    """Return the major version of CUDA of this machine's compiler; None if there is no compiler."""
    home = _chosen_home() or "/usr/local/cuda"
    nvcc = shutil.which("nvcc", path=str(Path(home, "bin"))) or shutil.which("nvcc")
    if nvcc is None:
        return None
    found = re.search(r"release (\d+)\.\d+", _output_of(nvcc, "--version"))
    return found[1] if found else None


def _python(environment: Environment, chosen: str | None, title: str) -> str:
    wanted = " or ".join(environment.pythons)
    if chosen is not None:
        path = shutil.which(str(Path(chosen).expanduser().absolute()) if os.sep in chosen else chosen)
        found = None if path is None else _version(path)
        if path is None or found is None:
            raise InputError(
                f"{chosen} is not a Python interpreter.", hint="--python needs the path of an interpreter."
            )
        if found not in environment.pythons:
            raise InputError(f"{title} needs Python {wanted}, but {chosen} is Python {found}.")
        return path
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for version in environment.pythons:
        # The one on the path may be a script, as pyenv's, that starts another one slowly, or none.
        for path in (sys.executable if version == own else None, shutil.which(f"python{version}")):
            if path and _version(path) == version:
                return path
    raise InputError(
        f"{title} needs Python {wanted}, and no such interpreter was found.",
        hint="Name an interpreter with --python PATH.",
    )


def _version(python: str) -> str | None:
    """Return the version of a Python interpreter, such as `3.12`; None if the program is no Python interpreter."""
    output = _output_of(python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    found = re.fullmatch(r"(\d+\.\d+)\s*", output)
    return found[1] if found else None


def _output_of(*command: str) -> str:
    """Return the beginning of a program's output; empty if the program cannot be run. It is ended after half a minute."""
    text, end = "", time.monotonic() + _OUTPUT_S
    with (
        contextlib.suppress(_CommandFailed),
        contextlib.closing(_lines(command, stderr=subprocess.DEVNULL)) as lines,
    ):
        for line in lines:
            text += f"{line}\n" if line else ""
            # the user may have named any program, even one that does not end
            if len(text) > _MAX_OUTPUT or time.monotonic() > end:
                break
    return text


def create(plan: EnvironmentPlan) -> Generator[InstallStep, None, None]:
    """Create an environment, yielding the steps as they happen.

    An existing environment is replaced once the new environment is installed, and is kept if the installation fails.
    Closing the generator ends the running program and deletes the new files. Raises InputError
    if another process has locked the environment, and EngineError if the installation fails.
    """
    private_folder(plan.folder.parent)
    with _exclusive_lock(plan.backend.name) as lock:
        failed = f"The environment of {plan.backend.title} could not be created"
        try:
            with _replacing(plan.folder) as scratch:
                for stage, command in _commands(plan):
                    yield from _run_command(stage, command, plan.folder, scratch=scratch, lock=lock)
                if plan.build.toolkit:
                    _use_toolkit(plan.folder, plan.build.toolkit)
                marker = {
                    "cuda": plan.build.cuda,
                    "requirements": plan.build.requirements,
                    "python": plan.python,
                }
                (plan.folder / environments.MARKER).write_text(json.dumps(marker, indent=1) + "\n")
        except _CommandFailed as error:
            raise EngineError(f"{failed}: {error}", hint=_source_hint(plan)) from error
        except OSError as error:
            raise EngineError(f"{failed}: {error.strerror or error}.") from error
        yield from check(plan.backend)


def _commands(plan: EnvironmentPlan) -> Sequence[tuple[str, list[str]]]:
    python = str(environments.python_in(plan.folder))
    source = [] if plan.find_links is None else ["--no-index", "--find-links", str(plan.find_links)]
    if plan.uv is not None:
        make = [plan.uv, "venv", "--no-project", "--python", plan.python, str(plan.folder)]
        install = [plan.uv, "pip", "install", "--python", python]
    else:
        make = [plan.python, "-m", "venv", str(plan.folder)]
        install = [python, "-m", "pip", "install", "--no-input", "--progress-bar=off"]
        install.append("--disable-pip-version-check")
    return ("create", make), ("install", [*install, *source, *plan.build.requirements])


def _use_toolkit(folder: Path, toolkit: str) -> None:
    """Make compilations in an environment use the environment's toolkit, unless the user has chosen another toolkit.

    `toolkit` is the toolkit's folder, relative to `site-packages`.
    """
    (packages,) = folder.glob("lib/python3*/site-packages")
    home = packages / toolkit
    for runtime in home.glob("lib/libcudart.so.*"):  # the wheels lack the name that linkers use
        (home / "lib" / "libcudart.so").symlink_to(runtime.name)
    # Python runs this line at each start: in the engine's worker, in the check, and in pip when it compiles
    # packages that the user installs.
    (packages / "paragone_cuda.pth").write_text(
        f"import os; any(map(os.environ.get, {_VARIABLES})) or os.environ.update(CUDA_HOME={str(home)!r})\n"
    )


def _source_hint(plan: EnvironmentPlan) -> str:
    if plan.find_links is not None:
        requirements = ", ".join(plan.build.requirements)
        return f"{plan.find_links} must contain the wheels of {requirements} and of their dependencies."
    return (
        "Check that this machine can reach the package index that pip or uv is configured to use. "
        "Without a network, install from a folder of wheels with --find-links."
    )


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Move the existing environment away, and restore it if the block raises.

    Yields a folder for temporary files on the environment's disk, whose free space was checked: /tmp may be too small.
    """
    old, scratch = (environments.sibling_path(folder, suffix) for suffix in ("old", "tmp"))
    if environments.is_complete(folder):
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    else:  # `old` may exist: a program that was killed had moved the environment there
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(mode=0o700)
        yield scratch
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if old.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def check(backend: Backend) -> Generator[InstallStep, None, None]:
    """Import the backend's library in its environment, yielding the steps as they happen.

    Raises InputError if there is no complete environment, and EngineError if a module cannot be imported.
    """
    environment = environments.declared_environment(backend)
    folder = environments.environment_folder(backend.name)
    if environment is None or not environments.is_complete(folder):
        raise InputError(
            f"{backend.title} has no environment on this machine, or an incomplete one.",
            hint=f"Create it with: paragone env create {backend.name}.",
        )
    python = str(environments.python_in(folder))
    for module in environment.modules:
        try:
            yield from _run_command("check", [python, "-I", "-c", f"import {module}"], folder)
        except _CommandFailed as error:
            # the backend knows the usual reasons and remedies
            probe = asyncio.run(questions.probe(backend, python))
            reason, remedy = probe.reason, probe.remedy
            if probe.usable:
                reason = str(error)
                remedy = f"Once this is fixed, check again with: paragone env check {backend.name}."
            raise EngineError(
                f"The environment of {backend.title} is installed, but {module} cannot be imported in it: "
                f"{reason}",
                hint=remedy,
            ) from error


def remove(name: str) -> int:
    """Delete an environment and return the number of freed bytes.

    Raises InputError if the environment does not exist or is locked, and ParagoneError if it cannot be deleted.
    """
    installed = [environment.name for environment in environments.list_installed({})]
    if name not in installed:
        hint = suggest(name, installed) if installed else "There are no environments on this machine."
        raise InputError(f"There is no environment {name!r}.", hint=hint)
    folder = environments.environment_folder(name)
    with _exclusive_lock(name):
        size = 0 if folder.is_symlink() else environments.size_of(folder)
        try:
            if folder.is_symlink():  # the target may belong to somebody else: delete only the link
                folder.unlink()
                return size
            (folder / environments.MARKER).unlink(
                missing_ok=True
            )  # first, so that a partly deleted environment is not used
            shutil.rmtree(folder)
            # a program that was killed while it created the environment has left these folders behind
            for suffix in ("old", "tmp"):
                shutil.rmtree(environments.sibling_path(folder, suffix), ignore_errors=True)
        except OSError as error:
            raise ParagoneError(f"{folder} cannot be deleted: {error.strerror or error}.") from error
        return size


@contextlib.contextmanager
def _exclusive_lock(name: str) -> Iterator[int]:
    """Lock the environment of this name. Raises InputError if another process has locked the environment, and ParagoneError on other errors.

    Yields the lock's file descriptor. A child process that inherits the descriptor holds the lock even if this
    process ends.
    """
    try:
        descriptor = os.open(
            environments.sibling_path(environments.environment_folder(name), "lock"),
            os.O_RDWR | os.O_CREAT,
            0o600,
        )
    except OSError as error:
        raise ParagoneError(
            f"{environments.environment_folder(name).parent} cannot be written to: {error.strerror or error}.",
            hint="Check the permissions and the free space there, or set XDG_DATA_HOME to another folder.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"The environment {name} is already being created or removed.",
                hint="Try again later.",
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)


def _run_command(
    stage: str, command: Sequence[str], folder: Path, *, scratch: Path | None = None, lock: int | None = None
) -> Iterator[InstallStep]:
    """Run a program with the variables of an environment; yield a step for each line, and several each second.

    `scratch` is the folder for the program's temporary files. The program inherits the descriptor `lock`, and so
    holds the lock even if this process ends. Raises _CommandFailed.
    """
    variables = dict(os.environ, NO_COLOR="1", PYTHONUNBUFFERED="1", VIRTUAL_ENV=str(folder))
    variables["PATH"] = os.pathsep.join((str(folder / "bin"), variables.get("PATH", os.defpath)))
    for name in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"):
        variables.pop(name, None)
    if scratch is not None:
        variables["TMPDIR"] = str(scratch)
    started, last = time.monotonic(), command[-1] if stage == "check" else " ".join(command)
    yield InstallStep(stage=stage, line=last, seconds=0.0)
    # not in the current folder, from which Python would import modules
    lines = _lines(command, env=variables, cwd=folder.parent, pass_fds=() if lock is None else (lock,))
    with contextlib.closing(lines):
        for line in lines:
            last = line or last
            yield InstallStep(stage=stage, line=last, seconds=time.monotonic() - started)


def _lines(
    command: Sequence[str], *, stderr: int = subprocess.STDOUT, **options: Any
) -> Generator[str, None, None]:
    """Run a program and yield its output lines; an empty line when it has printed nothing for a while.

    Closing the generator ends the program and its child processes. Raises _CommandFailed.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            **options,
        )
    except OSError as error:
        raise _CommandFailed(f"{command[0]} cannot be started: {error.strerror or error}.") from error
    assert process.stdout is not None
    tail: deque[str] = deque(maxlen=_TAIL)
    rest = b""
    try:
        with process.stdout as output:
            while True:
                if not select.select([output], [], [], _HEARTBEAT)[0]:
                    yield ""
                    continue
                read = os.read(output.fileno(), 1 << 16)
                *whole, rest = (rest + (read or b"\n")).split(b"\n")
                rest = rest[-_LONGEST_LINE:]
                for raw in whole:
                    if text := raw[-_LONGEST_LINE:].decode(errors="replace").strip():
                        tail.append(text)
                        yield text
                if not read:
                    break
        if process.wait():
            raise _CommandFailed(
                _reason([*tail]) or f"{command[0]} ended with exit code {process.returncode}."
            )
    finally:
        if process.poll() is None:
            _signal(process, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_CLEANUP_S)
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a program that leads a session, and to its child processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _reason(tail: Sequence[str]) -> str:
    """Return the reason that a failed program printed: the lines from its first error on, else its last line."""
    for index, line in enumerate(tail):
        if line.lower().startswith(("error", "×", "x ", "the virtual environment was not created")):
            return " ".join(tail[index:])
    return tail[-1] if tail else ""
