"""Runs every command in the README, and compares the output of `choose` that it shows."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tests.command_for_shells import command_in
from tests.docs.markdown import blocks

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
COMMANDS = [line for block in blocks(README, "sh") for line in block.splitlines() if line.strip()]
INSTALL = ["uv tool install ."]
"""Run by tests/packaging/test_distributions.py."""
MAKE = {"make demo": ".venv/bin/paragone demo", "make test": ".venv/bin/pytest"}
"""The commands of make, and what they run last."""


def shape(output: str) -> list[str]:
    """Return the beginnings of the lines that every choice between two engines has: headings, rows and measurements."""
    return [
        line.split()[0] for line in output.splitlines() if re.match(r"(engine|SmolLM2|speed|fidelity)", line)
    ]


def test_every_command_is_run_by_a_test():
    (choose,) = (line for line in COMMANDS if line.startswith("paragone choose"))
    assert sorted(COMMANDS) == sorted([*INSTALL, *MAKE, "cd ~/.cache/paragone", choose])


@pytest.mark.model
def test_choose_prints_what_the_readme_shows(home, smollm2, smaller_smollm2, tmp_path, monkeypatch):
    """The models have one layer, so their answers and the decision differ from the README."""
    (script,) = (block for block in blocks(README, "sh") if "paragone choose" in block)
    (shown,) = (block for block in blocks(README, "text") if "SmolLM2" in block)
    cache = home / ".cache" / "paragone"
    cache.mkdir(parents=True)
    for model in (smollm2, smaller_smollm2):
        (cache / model.name).symlink_to(model)
    monkeypatch.chdir(cache)  # the program runs in the working directory of the test, not of the shell
    folder = tmp_path / "bin"
    folder.mkdir()
    # Models without most of their layers have nothing to say in more tokens, or to more prompts.
    prompts = (
        f'{{"prompt": "{number}", "assertions": [{{"type": "length", "maximum": 60}}]}}'
        for number in range(20)
    )
    (cache / "few.jsonl").write_text("\n".join(prompts))
    script = re.sub(r"(?m)^paragone choose .*", r"\g<0> --set max_tokens=1 --suite few.jsonl", script)
    unset = {f"XDG_{name}_HOME": "" for name in ("CONFIG", "DATA", "CACHE", "STATE")}
    with command_in(folder):
        env = {**os.environ, **unset, "HOME": str(home), "PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-ec", script], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert shape(done.stdout) == shape(shown)


@pytest.mark.parametrize("command", MAKE)
def test_a_target_of_make(command):
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
