"""The environments on this machine, the interpreter that an engine runs in, and the programs that create environments."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from paragone import Backend, Json
from paragone.json_values import text_at, texts_at
from paragone.threads import in_daemon_thread, run_in_thread
from paragone.worker import Environment
from paragone_workbench.paths import accessible, data_folder

_VARIABLES = ("CUDA_HOME", "CUDA_PATH")
"""Variables by which PyTorch (`torch.utils.cpp_extension`) finds a toolkit, in this order."""


def chosen_home() -> str | None:
    """Return the folder of the CUDA toolkit that the user's environment variables name, if any."""
    return next((chosen for name in _VARIABLES if (chosen := os.environ.get(name))), None)


def use_toolkit(folder: Path, toolkit: str) -> None:
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


Stage: TypeAlias = Literal["create", "install", "check"]

_HEARTBEAT = 1.0
"""Seconds after which the last step is yielded again if the program prints nothing, such as during a long download."""

_CLEANUP_TIMEOUT = 5.0
"""Seconds that an interrupted program has to delete its temporary files."""

_LONGEST_LINE = 1 << 20
"""Number of bytes from which an output line is ignored."""

_TAIL = 8
"""Number of last output lines of a failed program to search for the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallStep:
    stage: Stage
    line: str
    """The program's last output line, unfiltered: it may contain control characters."""
    seconds: float
    """Seconds since the stage began."""


class CommandFailed(Exception):
    """A program failed. The message is the reason that the program printed."""


async def run_command(
    stage: Stage,
    command: Sequence[str],
    folder: Path,
    line: str = "",
    *,
    scratch: Path | None = None,
    lock: int | None = None,
) -> AsyncGenerator[InstallStep, None]:
    """Run a program, yielding a step for each line that it prints, and at least one step a second.

    `scratch` is the folder for the program's temporary files. The program inherits the descriptor `lock`, and so
    holds the lock even if this process ends. Raises CommandFailed.
    """
    started = time.monotonic()
    line = line or " ".join(command)
    yield InstallStep(stage=stage, line=line, seconds=0.0)
    process = _started(command, folder, scratch, lock)
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    in_daemon_thread(
        lambda: _read_lines(process, lambda text: loop.call_soon_threadsafe(lines.put_nowait, text))
    )
    tail: deque[str] = deque(maxlen=_TAIL)
    try:
        while True:
            try:
                text = await asyncio.wait_for(lines.get(), _HEARTBEAT)
            except TimeoutError:
                text = ""
            if text is None:
                break
            if text:
                line = text
                tail.append(text)
            yield InstallStep(stage=stage, line=line, seconds=time.monotonic() - started)
        if await run_in_thread(process.wait):
            raise CommandFailed(
                _reason([*tail]) or f"{command[0]} ended with exit code {process.returncode}."
            )
    finally:
        if process.poll() is None:
            await run_in_thread(lambda: _end(process))


def _started(
    command: Sequence[str], folder: Path, scratch: Path | None, lock: int | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(folder, scratch),
            cwd=folder.parent,  # not the current folder, from which Python would import modules
            pass_fds=() if lock is None else (lock,),
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(f"{command[0]} cannot be started: {error.strerror or error}.") from error


def _read_lines(process: subprocess.Popen[bytes], pass_on: Callable[[str | None], object]) -> None:
    """Pass on each line of a program's output, and None at its end."""
    assert process.stdout is not None
    with process.stdout as output:
        while raw := output.readline(_LONGEST_LINE):
            pass_on("" if len(raw) == _LONGEST_LINE else raw.decode(errors="replace").strip())
    pass_on(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and its child processes, after giving the program time to clean up."""
    end_group(process, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_CLEANUP_TIMEOUT)
    end_group(process, signal.SIGKILL)
    process.wait()


def end_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a program that leads a session, and to its child processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _reason(tail: Sequence[str]) -> str:
    """Return the reason that a failed program printed: the lines from its first error on, else its last line."""
    for index, line in enumerate(tail):
        if line.lower().startswith(("error", "×", "x ", "the virtual environment was not created")):
            return " ".join(tail[index:])
    return tail[-1] if tail else ""


def _environment(folder: Path, scratch: Path | None) -> Mapping[str, str]:
    variables = dict(os.environ, NO_COLOR="1", PYTHONUNBUFFERED="1", VIRTUAL_ENV=str(folder))
    variables["PATH"] = os.pathsep.join((str(folder / "bin"), variables.get("PATH", os.defpath)))
    for name in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"):
        variables.pop(name, None)
    if scratch is not None:
        variables["TMPDIR"] = str(scratch)
    return variables


MARKER = "paragone.json"
"""A file that is written at the end of an installation. An environment without this file is incomplete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledEnvironment:
    name: str
    """The backend's name."""
    folder: Path
    complete: bool
    """Whether the environment was installed to the end, and its interpreter exists."""
    cuda: str = ""
    """The major version of CUDA that the environment was created for."""
    outdated: bool = False
    """Whether the backend declares other requirements now."""
    size: int = 0
    """Bytes on disk."""

    @property
    def python(self) -> Path:
        return python_in(self.folder)


def declared_environment(backend: Backend) -> Environment | None:
    """Return the environment that a backend declares; None if it needs none."""
    environment = getattr(backend, "environment", None)
    return environment if isinstance(environment, Environment) else None


def environment_folder(name: str) -> Path:
    return data_folder() / "environments" / name


def sibling_path(folder: Path, suffix: str) -> Path:
    """Return a hidden path next to an environment, for temporary data while it is created."""
    return folder.with_name(f".{folder.name}.{suffix}")


def python_in(folder: Path) -> Path:
    return folder / "bin" / "python"


def interpreter(backend: Backend, chosen: str | None) -> str | None:
    """Return the interpreter for a backend's worker: `chosen`, or the environment's, or None for paragone's own."""
    if chosen is not None or declared_environment(backend) is None:
        return chosen
    folder = environment_folder(backend.name)
    return str(python_in(folder)) if is_complete(folder) else None


def is_complete(folder: Path) -> bool:
    """Whether an environment's installation was finished, and its interpreter exists."""
    return accessible(folder / MARKER) and accessible(python_in(folder))


def list_installed(backends: Mapping[str, Backend]) -> tuple[InstalledEnvironment, ...]:
    """Return the environments on this machine, sorted by name, also the environments of backends that are not installed.

    Reads the sizes of all files in the environments.
    """
    try:
        paths = environment_folder("").iterdir()
        folders = sorted(path for path in paths if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return ()
    return tuple(_found(folder, backends.get(folder.name)) for folder in folders)


def _found(folder: Path, backend: Backend | None) -> InstalledEnvironment:
    marker: Json = None
    with contextlib.suppress(OSError, ValueError):
        marker = json.loads((folder / MARKER).read_text())
    environment = None if backend is None else declared_environment(backend)
    current = [set(build.requirements) for build in environment.builds] if environment else []
    return InstalledEnvironment(
        name=folder.name,
        folder=folder,
        complete=isinstance(marker, dict) and is_complete(folder),
        cuda=text_at(marker, "cuda"),
        outdated=bool(marker and current) and {*texts_at(marker, "requirements")} not in current,
        size=size_of(folder),
    )


def size_of(folder: Path) -> int:
    """Return the bytes on disk that a folder's files use; a file with several hard links counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = Path(parent, name).lstat()
            except OSError:
                continue
            sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())
