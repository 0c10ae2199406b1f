"""Builds of this repository, and what is in them."""

import subprocess
import sys
import zipfile
from pathlib import Path


def build(source: Path, kind: str, into: Path) -> Path:
    """Build in this environment, without downloading build requirements as `pip` and `uv build` do."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (built,) = into.iterdir()
    return built


def content(wheel: zipfile.ZipFile) -> set[str]:
    """The files of the packages in a wheel, without its metadata and what stands beside the packages."""
    return {name for name in wheel.namelist() if ".dist-info/" not in name and ".data/" not in name}
