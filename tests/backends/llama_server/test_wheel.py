"""The wheel's llama-server: it takes the command line of llama.cpp's program, and runs with one version only."""

import subprocess
import tomllib
import types
from pathlib import Path

import pytest

from paragone_remote.llama_server import wheel as module

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def run(wheel, *arguments):
    return subprocess.run([wheel, *arguments], capture_output=True, text=True, timeout=120)


def test_the_accepted_version_is_the_one_that_paragone_requires():
    assert f"xllamacpp=={module.VERSION}" in tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]


def test_the_wheels_server_accepts_llama_servers_command_line(wheel):
    done = run(wheel, "--help")
    assert done.returncode == 0
    assert "--slot-save-path PATH" in done.stdout, "this is the help of the server, not of another program"
    assert run(wheel, "--version").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nosuch"], "invalid argument: --nosuch"),
        (["--port", "1"], "needs a model: it has no router"),
        (["-m", "/none.gguf", "--offline"], "failed to load model"),
    ],
)
def test_unusable_arguments_are_refused(wheel, arguments, said):
    done = run(wheel, *arguments)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr


def test_another_version_is_refused(wheel, monkeypatch):
    monkeypatch.setattr("xllamacpp.__version__", "2026.1.1")
    with pytest.raises(SystemExit, match=r"needs xllamacpp 2026\.9\.11063; 2026\.1\.1 is installed"):
        module.main(["--help"])


def test_a_structure_with_unexpected_fields_is_not_written_to():
    """A double of `CommonParams`, whose fields are in a dictionary."""
    params = types.SimpleNamespace(n_predict=-1, n_ctx=0, n_batch=2048, n_ubatch=512)
    with pytest.raises(SystemExit, match="its structures are not as expected"):
        module._address(params)
    assert vars(params) == {"n_predict": -1, "n_ctx": 0, "n_batch": 2048, "n_ubatch": 512}
