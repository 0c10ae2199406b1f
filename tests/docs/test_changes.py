"""The files in changes make a section of the changelog."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FRAGMENTS = [path for path in (ROOT / "changes").iterdir() if path.name != "README.md"]


def test_every_file_has_a_kind():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    kinds = {kind["directory"] for kind in project["tool"]["towncrier"]["type"]}
    for path in FRAGMENTS:
        start, kind, suffix = path.name.split(".")
        assert start.startswith("+")
        assert (kind, suffix) in {(it, "md") for it in kinds}, path.name


def test_every_file_is_in_the_next_section():
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "next"]
    section = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert section.startswith("## next (")
    for path in FRAGMENTS:
        assert path.read_text(encoding="utf-8").splitlines()[0] in section, path.name
