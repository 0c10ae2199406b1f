"""The fixtures of the packaging tests: the folder of the checkout, and its files."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkout() -> Path:
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tracked(checkout) -> list[Path]:
    if not (checkout / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=checkout, capture_output=True, check=True)
    files = [checkout / name for name in listed.stdout.decode().split("\0") if name]
    return [file for file in files if file.is_file()]
