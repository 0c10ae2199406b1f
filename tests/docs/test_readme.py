"""Every command in the README is run, and every block of config in it is checked."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bench.terminal import Terminal

from paragone_workbench.config import read as config
from paragone_workbench.engines.registry import Registry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
SCREENS = [line for line in COMMANDS if re.match(r"paragone \w+:", line)]
MAKE = [line for line in COMMANDS if line.startswith("make ")]
PLAIN = [line for line in COMMANDS if line not in (*SCREENS, *MAKE)]
COMPUTING = re.compile(r"\bparagone (ask|compare) ")
"""Commands whose engines take all cores, as nothing tells them otherwise."""


def runnable(commands: list[str]) -> list[Any]:
    """The commands for `parametrize`."""
    return [
        pytest.param(line, id=line, marks=[pytest.mark.alone] if COMPUTING.search(line) else [])
        for line in commands
    ]


@pytest.fixture
def models(home: Path, smollm2: Path) -> Path:
    """Put the models and the config where the README has them."""
    folder = home / "models"
    folder.mkdir()
    for name in ("small-Q4_1.gguf", "small-Q3_K_M.gguf"):
        (folder / name).symlink_to(smollm2)
    return folder


@pytest.fixture
def shell(home: Path, models: Path) -> dict[str, str]:
    """The environment of a shell in which `paragone` is on the path."""
    folder = home / "bin"
    folder.mkdir()
    program = folder / "paragone"
    program.write_text(f"#!{sys.executable}\nfrom paragone_cli.main import main\nraise SystemExit(main())\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def configured() -> None:
    path = config.init()
    (block,) = blocks("toml")
    path.write_text(f"{block}\n[engines.careful-one-thread]\nbackend = 'llama_cpp'\nmodel = 'x'\n")


def test_the_two_commands_come_first():
    assert COMMANDS[:2] == ["make demo", "make test"]


def test_the_config_is_right(models):
    configured()
    assert config.check(backend=Registry().find) == []


@pytest.mark.model
@pytest.mark.parametrize("command", runnable(PLAIN))
def test_a_command(command, shell, home):
    if command != "paragone config init":
        configured()
    result = subprocess.run(
        command, shell=True, cwd=home, env=shell, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip()
    assert "Traceback" not in result.stderr


@pytest.mark.model
@pytest.mark.parametrize("command", SCREENS)
def test_a_screen(command, shell, home):
    # The shell puts the home folder in place of ~, as a person's does.
    with Terminal(["sh", "-c", f"exec {command}"], 120, 30, shell) as terminal:
        deadline = time.monotonic() + 60
        while terminal.text.count("ready") != 2:
            assert time.monotonic() < deadline, terminal.text
            terminal.read(0.1)
        terminal.send("\x11")
        while terminal.process.poll() is None and time.monotonic() < deadline:
            terminal.read(0.1)
        assert terminal.process.returncode == 0


@pytest.mark.parametrize("command", MAKE)
def test_a_target_of_make(command):
    """What make would do, up to the recipe's last line; that `make test` is running is this very test."""
    dry = subprocess.run(
        [*shlex.split(command), "--dry-run", "--always-make", "--no-print-directory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    wanted = {"make demo": ".venv/bin/paragone demo", "make test": ".venv/bin/pytest"}
    assert wanted[command] in dry.strip().splitlines()[-1]
