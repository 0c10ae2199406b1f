"""The builds of llama.cpp that are installed: one compiled on this machine, and one that runs everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["InstalledBuild", "BuildName", "installed_builds"]

BuildName: TypeAlias = Literal["native", "prebuilt"]

_PACKAGES: dict[BuildName, tuple[str, str, Sequence[str]]] = {
    "native": ("llama-cpp-python", "llama_cpp", ("lib/libllama.so", "lib/libllama.dylib", "lib/llama.dll")),
    "prebuilt": ("xllamacpp", "xllamacpp", ("xllamacpp*.so", "xllamacpp*.pyd")),
}
"""For each build: its distribution, its package, and patterns of its library's file. The preferred build is first."""


@dataclass(frozen=True, slots=True)
class InstalledBuild:
    """An installed build of llama.cpp."""

    name: BuildName
    """`native` was compiled for this machine's processor or GPU, `prebuilt` for any processor with AVX2 (on x86-64)."""
    distribution: str
    file: Path
    """The shared library."""

    @property
    def version(self) -> str:
        """The version of the distribution."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return "unknown"

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


def installed_builds() -> list[InstalledBuild]:
    """Return the builds that this interpreter has, the preferred one first. Imports none of their packages."""
    return list(_installed())


def _installed() -> Iterator[InstalledBuild]:
    for name, (distribution, package, patterns) in _PACKAGES.items():
        spec = PathFinder.find_spec(package, sys.path)
        folders = (spec and spec.submodule_search_locations) or ()
        files = (file for folder in folders for pattern in patterns for file in Path(folder).glob(pattern))
        if (file := next(files, None)) is not None:
            yield InstalledBuild(name, distribution, file)
