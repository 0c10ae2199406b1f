"""The command that installs the packages for an optional part of paragone."""

from __future__ import annotations

import importlib.util
import shlex
import sys

__all__ = ["install_command", "pip_install"]


def install_command(extra: str, *options: str) -> str:
    """Return the shell command that installs the packages of one of paragone's extras for this interpreter.

    The command names the packages instead of the extra, so it works wherever paragone was installed from. `options` are
    pip's options.
    """
    packages = _packages(extra)
    if not packages:
        return f"the packages of paragone's extra {extra}, for {sys.executable}"
    return pip_install(*options, *packages)


def pip_install(*arguments: str) -> str:
    """Return the shell command that installs packages for this interpreter. `arguments` are options and packages."""
    # uv creates environments without pip.
    installer = (
        [sys.executable, "-m", "pip", "install"]
        if importlib.util.find_spec("pip")
        else ["uv", "pip", "install", "--python", sys.executable]
    )
    return shlex.join([*installer, *arguments])


def _packages(extra: str) -> list[str]:
    """Return the requirements of an extra, as the installed paragone declares them."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires("paragone") or []
    except PackageNotFoundError:  # a worker with an interpreter of its own
        return []
    requirements = (line.partition(";") for line in declared)
    return [
        package.strip()
        for package, _, condition in requirements
        if condition.strip() in (f"extra == '{extra}'", f'extra == "{extra}"')
    ]
