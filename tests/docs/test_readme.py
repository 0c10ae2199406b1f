"""Checks that tests run every command of the README, and that the README is short."""

import shlex
import subprocess
from pathlib import Path

import pytest
from tests.docs.markdown import blocks

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
INSTALL = "uv tool install ."
"""Run by tests/packaging/test_distributions.py."""
MAKE = {"make demo": ".venv/bin/paragone demo", "make test": ".venv/bin/pytest"}
"""The commands of make, and what they run last."""


def test_every_command_is_run_by_a_test():
    """tests/docs/test_printed_pages.py runs `paragone` in blocks of commands, and compares the output."""
    commands = [line for block in blocks(README, "sh") for line in block.splitlines()]
    assert {line for line in commands if not line.startswith("paragone ")} == {INSTALL, *MAKE}


@pytest.mark.parametrize("command", MAKE)
def test_the_targets_of_make_exist(command):
    """The commands that make would run, without running them: `make test` would run this test again."""
    dry = subprocess.run(
        [*shlex.split(command), "--dry-run", "--always-make", "--no-print-directory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert MAKE[command] in dry.strip().splitlines()[-1]


def test_the_readme_is_short():
    assert 600 <= len(README.read_text(encoding="utf-8").split()) <= 900
