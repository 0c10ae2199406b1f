"""Runs every command in the README, and checks every block of config in it."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.terminal import Terminal
from tests.command_for_shells import command_in
from tests.shallow_model import make_shallow

from paragone_workbench.config import read as config
from paragone_workbench.engines.registry import Registry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
SCREENS = [line for line in COMMANDS if re.match(r"paragone \w+:", line)]
MAKE = [line for line in COMMANDS if line.startswith("make ")]
SCRIPTS = [block for block in blocks("sh") if not {*SCREENS, *MAKE} & {*block.splitlines()}]
"""Blocks whose commands are executed in their order, as a person does."""


@pytest.fixture(scope="module")
def demo_models(tmp_path_factory, whole_smollm2: Path) -> Path:
    """A folder with the files that `make demo` creates, of a model that has one layer."""
    folder = tmp_path_factory.mktemp("demo-models")
    larger = folder / whole_smollm2.name
    make_shallow(whole_smollm2, larger, layers=1)
    smaller = folder / larger.name.replace("Q4_1", "Q4_0")
    requantize = [sys.executable, "-m", "paragone_llama_cpp.demo"]
    subprocess.run([*requantize, larger, smaller, "Q4_0"], check=True, capture_output=True)
    return folder


def at_home(home: Path) -> dict[str, str]:
    """The environment in which all files are in the usual folders of a home."""
    unset = {f"XDG_{name}_HOME": "" for name in ("CONFIG", "DATA", "CACHE", "STATE")}
    return {**os.environ, **unset, "HOME": str(home)}


def quit_once_ready(terminal: Terminal) -> None:
    """Wait until both lanes are ready, and quit."""
    deadline = time.monotonic() + 120
    while terminal.text.count("ready") != 2:
        assert time.monotonic() < deadline, terminal.text
        terminal.read(0.1)
    terminal.send("\x11")
    while terminal.process.poll() is None and time.monotonic() < deadline:
        terminal.read(0.1)
    assert terminal.process.returncode == 0


@pytest.fixture
def shell(home: Path, demo_models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of a shell in which `paragone` is on the path, after `make demo`; with a config of its own."""
    cache = home / ".cache" / "paragone"
    cache.parent.mkdir()
    cache.symlink_to(demo_models)
    folder = home / "bin"
    folder.mkdir()
    monkeypatch.chdir(home)
    with command_in(folder):
        yield {**at_home(home), "PATH": f"{folder}:{os.environ['PATH']}"}


def configured(path: Path) -> Path:
    config.init(path)
    (block,) = blocks("toml")
    path.write_text(block)
    return path


def test_the_readmes_config_is_valid(home):
    _, problems = config.load_with_problems(configured(home / "config.toml"), backend=Registry().get)
    assert problems == []


def test_every_command_is_run_by_a_test():
    run = [line for script in SCRIPTS for line in script.splitlines() if line.strip()]
    assert sorted([*run, *SCREENS, *MAKE]) == sorted(COMMANDS)


@pytest.mark.model
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.splitlines()[-1])
def test_each_block_of_commands_runs(script, shell, home):
    if "config init" not in script:
        path = configured(home / ".config/paragone/config.toml")
        path.write_text(re.sub(r"^model = .*", r"\g<0>\nn_threads = 1", path.read_text(), flags=re.MULTILINE))
    # `choose` asks 120 prompts of its own. Models without most of their layers have nothing to say in more tokens.
    script = re.sub(r"(?<=^paragone choose )(.*)max_tokens=40", r"\1max_tokens=1", script, flags=re.MULTILINE)
    result = subprocess.run(
        ["sh", "-ec", script],
        env=shell,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip()
    assert "Traceback" not in result.stderr


@pytest.mark.model
def test_the_models_are_listed_with_the_specs_that_the_readme_uses(shell, home):
    done = subprocess.run(["paragone", "engines", "models"], env=shell, capture_output=True, text=True)
    listed = {line.split()[-1] for line in done.stdout.splitlines()}
    assert {spec for command in SCREENS for spec in command.split()[1:]} <= listed


@pytest.mark.model
@pytest.mark.parametrize("command", SCREENS)
def test_the_commands_that_open_a_screen_run(command, shell):
    # The shell puts the home folder in place of ~, as a person's does.
    with Terminal(["sh", "-c", f"exec {command}"], 120, 30, shell) as terminal:
        quit_once_ready(terminal)


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
    wanted = {"make demo": ".venv/bin/paragone demo", "make test": ".venv/bin/pytest"}
    assert wanted[command] in dry.strip().splitlines()[-1]
