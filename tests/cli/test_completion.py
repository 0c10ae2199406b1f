"""`paragone config completion`, in the bash that reads its script."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paragone_cli.command_line.arguments import SHELLS
from paragone_cli.commands import EXAMPLES

from .conftest import paragone, said

ENGINES = "".join(
    f'[engines.{name}]\nbackend = "llama_cpp"\nmodel = "{name}.gguf"\n'
    for name in ("small", "smaller", "large")
)

COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_paragone
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def completed(home):
    """A function that returns what bash offers for the last word of a command line."""
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("bash is not installed")
    script = home / "paragone.bash"
    script.write_bytes(paragone("config", "completion", "bash").stdout)

    def offered(*line):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = [bash, "--norc", "-c", COMPLETE, "bash", str(script), "paragone", *line]
        run = subprocess.run(
            command, cwd=home, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        assert (run.returncode, run.stderr) == (0, "")
        return run.stdout.split()

    return offered


def test_every_command_is_completed(completed):
    assert {"--version", "--offline"} <= set(completed("--"))
    assert {"", *completed("")} == set(EXAMPLES)
    assert completed("hist") == ["history"]
    assert completed("history", "ex") == ["export"]


def test_options_and_their_values_are_completed(completed):
    assert completed("compare", "--sch") == ["--schedule"]
    assert completed("compare", "--schedule", "s") == ["sequential", "swap"]


def test_files_are_completed(completed, home):
    (home / "questions.toml").touch()
    assert completed("suite", "run", "ques") == ["questions.toml"]


def test_the_names_of_the_engines_are_completed(completed, home):
    folder = home / "config" / "paragone"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(ENGINES)
    assert completed("ask", "sm") == ["small", "smaller"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_accepts_the_script(shell, home):
    program = shutil.which(shell)
    if not program:
        pytest.skip(f"{shell} is not installed")
    script = home / "script"
    script.write_bytes(paragone("config", "completion", shell).stdout)
    checked = subprocess.run([program, "-n", str(script)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_other_shells_are_refused(home):
    refused = paragone("config", "completion", "tcsh")
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert "bash" in said(refused)
