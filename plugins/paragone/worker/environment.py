"""The virtual environment that a native engine's library needs, as its backend declares it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Build", "Environment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Requirements that work together, for one major version of CUDA."""

    cuda: str
    """The major version, such as `12`."""
    driver: int
    """The oldest NVIDIA driver that can run it, by the first part of its version."""
    requirements: tuple[str, ...]
    """What to install, in pip's notation."""
    download: int
    """Bytes to fetch, about."""
    disk: int
    """Bytes that it takes when it is installed, about."""
    toolkit: str = ""
    """Where they put a CUDA toolkit, nvcc in it, below `site-packages`; empty where they bring none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What is installed, for which interpreters, and how to see that it works."""

    builds: tuple[Build, ...]
    """The newest CUDA first."""
    pythons: tuple[str, ...]
    """Versions of Python that all of it exists for, such as `3.12`; the best first."""
    modules: tuple[str, ...]
    """Imported in the finished environment, one after the other, as its check."""
    compiles: bool = False
    """Whether what is installed compiles a part of itself: g++ is wanted, and nvcc of the build's major version."""
