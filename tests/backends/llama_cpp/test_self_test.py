"""The self-test: a tiny model whose logits are known."""

import subprocess
import sys

import pytest

from paragone_llama_cpp.backend import LlamaCppBackend
from paragone_llama_cpp.c_api import installed_builds

BUILDS = [build.name for build in installed_builds()]

# The library prints to the terminal, and a process can load only one build.
PROGRAM = """
import sys
from paragone import ParagoneError
from paragone_llama_cpp import self_test
from paragone_llama_cpp import library
build, *changes = sys.argv[1:]
library.load(build)
as_it_is = dict(vars(self_test))
for change in changes:
    exec(change)
    try:
        self_test.check_computation()
    except (ParagoneError, OSError) as error:
        print(type(error).__name__, error)
    else:
        print("passed")
    vars(self_test).update(as_it_is)
"""


def checked(build: str, *changes: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, build, *changes]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.thorough
def test_the_self_test_finds_wrong_results():
    # every -1 becomes -0.88
    model = "model = self_test.tiny_model(); self_test.tiny_model = lambda: model.replace(b'\\x81' * 8, b'\\x70' * 8)"
    said = checked(
        BUILDS[0], model, "self_test._TOLERANCE = 1e-6", "self_test.tiny_model = lambda: b'GGUF'", ""
    )
    *wrong, unchanged = said
    assert unchanged == "passed"
    for line, error in zip(wrong, ("computes wrongly", "computes wrongly", "could not load"), strict=True):
        assert error in line


async def test_the_probe_reports_that_the_self_test_passed():
    probe = await LlamaCppBackend().probe()
    assert probe.usable
    assert probe.facts["self-test"] == "passed"
    assert {"library", "llama.cpp", "build", "GPU"} <= set(probe.facts)
    assert "CPU" in probe.facts["devices"]


async def test_an_unusable_temporary_folder_skips_the_self_test(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    (tmp_path / "sitecustomize.py").write_text(
        "import tempfile\ndef full(**_):\n    raise OSError(28, 'No space left on device')\n"
        "tempfile.NamedTemporaryFile = full\n"
    )
    probe = await LlamaCppBackend().probe()
    assert probe.usable
    assert probe.facts["self-test"] == "skipped: No space left on device"
