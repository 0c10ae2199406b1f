"""What making an environment would take, to be shown before it is done."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from paragone import Backend, InputError
from paragone.worker import Build, Environment
from paragone_workbench.engines.environments.found import declared, exists, folder_of, is_whole
from paragone_workbench.engines.environments.toolkit import chosen_home
from paragone_workbench.machine.gpus import find_gpus

__all__ = ["Plan", "plan"]

_DRIVER = Path("/proc/driver/nvidia/version")

_MOST = 1 << 14
"""Bytes of what a program says of its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An environment that could be made."""

    backend: Backend
    folder: Path
    build: Build
    python: str
    """The interpreter that it is made with."""
    uv: str | None
    """The program `uv`, or None where venv and pip do its work."""
    find_links: Path | None
    """The folder that wheels come from, and from nowhere else; None for the usual index."""
    free: int
    """Bytes that are free where it goes."""
    replaces: bool
    """Whether there is one already, which is deleted once the new one is installed."""
    warnings: tuple[str, ...] = ()
    """What stands in the way of using it on this machine, in sentences."""

    @property
    def title(self) -> str:
        """What people call what it is for."""
        return self.backend.title

    @property
    def download(self) -> int:
        """Bytes to fetch, about."""
        return 0 if self.find_links else self.build.download

    @property
    def disk(self) -> int:
        """Bytes that it takes, about."""
        return self.build.disk


async def plan(
    backend: Backend, *, cuda: str | None = None, python: str | None = None, find_links: str | None = None
) -> Plan:
    """Return what it takes to make the environment of a backend. Nothing is changed.

    `cuda` is a major version, by default the newest that this machine's driver can run; `python` an
    interpreter; `find_links` a folder of wheels to install from without an index. Raises InputError.
    """
    environment = declared(backend)
    if environment is None:
        raise InputError(
            f"{backend.title} needs no environment of its own.", hint="It runs with what is installed here."
        )
    driver, compiler = await _driver(), await _compiler() if environment.compiles else None
    build = _build(environment, cuda, backend.title, driver, compiler)
    links = None if find_links is None else Path(find_links).expanduser().absolute()
    if links is not None and not links.is_dir():
        raise InputError(f"There is no folder {links}.", hint="--find-links takes a folder of wheels.")
    folder = folder_of(backend.name)
    if os.path.islink(folder):  # noqa: PTH114 (no error where it may not be looked at)
        raise InputError(
            f"{folder} is a link, and what it leads to would be deleted.",
            hint="Delete the link. To have engines run in another interpreter, set `python` in their definitions.",
        )
    replaces = is_whole(folder)
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if exists(path))).free
    if free < build.disk:
        hint = "Free some space, or set XDG_DATA_HOME to a folder on a larger disk."
        if replaces:
            hint = f"Remove the one that is there first: paragone env remove {backend.name}. {hint}"
        raise InputError(
            f"The environment of {backend.title} takes about {_gb(build.disk)}, and {_gb(free)} are free "
            f"in {folder.parent}.",
            hint=hint,
        )
    return Plan(
        backend=backend,
        folder=folder,
        build=build,
        python=await _python(environment, python, backend.title),
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
        there = " or ".join(build.cuda for build in environment.builds)
        raise InputError(
            f"There is no environment of {title} for CUDA {cuda}.", hint=f"There is one for {there}."
        )
    # Without a driver here, any: it may be made for another machine's disk.
    able = [build for build in environment.builds if driver is None or build.driver <= driver]
    if not able:
        return environment.builds[-1]
    return next((build for build in able if _has_compiler(build, compiler)), able[0])


def _has_compiler(build: Build, compiler: str | None) -> bool:
    """Whether nvcc is there for a build: its own, unless the user has chosen one, or that of CUDA `compiler`."""
    return compiler == build.cuda or (bool(build.toolkit) and chosen_home() is None)


def _warnings(
    environment: Environment, build: Build, title: str, driver: int | None, compiler: str | None
) -> Iterator[str]:
    if driver is None:
        yield f"There is no NVIDIA driver on this machine: {title} will find no GPU here."
    elif driver < build.driver:
        yield f"CUDA {build.cuda} needs an NVIDIA driver from {build.driver} on, and here is {driver}."
    if not environment.compiles:
        return
    compiles = f"{title} compiles a part of itself when it is first used"
    if driver is None and not os.environ.get("TORCH_CUDA_ARCH_LIST"):
        yield (
            f"{compiles}, for the GPUs that it finds. To have that done here for another machine, set "
            "TORCH_CUDA_ARCH_LIST to the compute capability of its GPUs, such as 8.6+PTX."
        )
    if shutil.which("c++") is None and shutil.which("g++") is None:
        yield f"There is no C++ compiler on this machine. {compiles}: install g++."
    if _has_compiler(build, compiler):
        return
    if compiler is None:
        yield (
            f"There is no CUDA compiler (nvcc) on this machine. {compiles}: install the toolkit of "
            f"CUDA {build.cuda}, or a wheel that has that part in it."
        )
    else:
        own = " Unset CUDA_HOME and CUDA_PATH to have the environment's own used." if build.toolkit else ""
        yield (
            f"The CUDA compiler (nvcc) here is that of CUDA {compiler}: {title} will need that of {build.cuda}.{own}"
        )


async def _driver() -> int | None:
    """Return the first part of the NVIDIA driver's version, where there is one."""
    try:
        found = re.search(r"\s(\d{3,})\.\d+", _DRIVER.read_text())
    except OSError:  # no Linux of its own, such as WSL2's
        gpus, _ = await find_gpus()
        found = re.match(r"(\d{3,})\.", gpus[0].driver) if gpus else None
    return int(found[1]) if found else None


async def _compiler() -> str | None:
    """Return the major version of CUDA whose compiler is here; None where there is none."""
    home = chosen_home() or "/usr/local/cuda"
    nvcc = shutil.which("nvcc", path=str(Path(home, "bin"))) or shutil.which("nvcc")
    said = None if nvcc is None else await _said(nvcc, "--version")
    found = re.search(r"release (\d+)\.\d+", said or "")
    return found[1] if found else None


async def _python(environment: Environment, chosen: str | None, title: str) -> str:
    wanted = " or ".join(environment.pythons)
    if chosen is not None:
        path = shutil.which(str(Path(chosen).expanduser().absolute()) if os.sep in chosen else chosen)
        found = None if path is None else await _version(path)
        if path is None or found is None:
            raise InputError(f"{chosen} is no Python interpreter.", hint="--python takes the path of one.")
        if found not in environment.pythons:
            raise InputError(f"{title} needs Python {wanted}, and {chosen} is {found}.")
        return path
    for path in _candidates(environment):
        if await _version(path) in environment.pythons:
            return path
    raise InputError(
        f"{title} needs Python {wanted}, and none is found here.", hint="Name one with --python PATH."
    )


def _candidates(environment: Environment) -> Iterable[str]:
    for version in environment.pythons:
        if path := shutil.which(f"python{version}"):
            yield path
    yield sys.executable


async def _version(python: str) -> str | None:
    """Return which Python an interpreter is, such as `3.12`; None where it is none."""
    said = await _said(python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    version = (said or "").strip()
    return version if re.fullmatch(r"\d+\.\d+", version) else None


async def _said(*command: str) -> str | None:
    """Return what a program prints first; None where it cannot be run, or takes half a minute."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    assert process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(30):
            while len(said) < _MOST and (part := await process.stdout.read(_MOST)):
                said += part
    except TimeoutError:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):  # what the user named may be anything
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return said.decode(errors="replace")


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
