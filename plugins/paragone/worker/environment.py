"""The declaration of the virtual environment that a native engine's library needs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Build", "Environment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A set of compatible requirements for one major version of CUDA."""

    cuda: str
    """The major version, such as `12`."""
    driver: int
    """The oldest NVIDIA driver that can run this build, as the first number of the driver's version."""
    requirements: tuple[str, ...]
    """Requirements to install, in pip's notation."""
    download: int
    """Approximate size of the download in bytes."""
    disk: int
    """Approximate size of the installation in bytes."""
    toolkit: str = ""
    """Folder below `site-packages` of the CUDA toolkit, including nvcc, that the requirements install.

    Empty if the requirements install no toolkit.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The packages to install, the supported interpreters, and the modules to check."""

    builds: tuple[Build, ...]
    """The available builds, the newest CUDA first."""
    pythons: tuple[str, ...]
    """Versions of Python for which all packages exist, such as `3.12`; the best first."""
    modules: tuple[str, ...]
    """Modules that are imported in this order to check the finished environment."""
    compiles: bool = False
    """Whether a package compiles code when it is used.

    Such a package needs g++, and nvcc of the build's CUDA version.
    """
