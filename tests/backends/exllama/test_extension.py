"""The lock of a compilation: a killed process's lock is removed, a running one's is kept."""

import os
import select
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from paragone_exllama import probe

COMPILING = """
import os, subprocess, sys
os.chdir(sys.argv[1])
os.open("lock", os.O_CREAT | os.O_EXCL)
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    folder = probe.extension_folder("exllamav2", "13.0")
    folder.mkdir(parents=True)
    return folder


def test_a_stale_lock_is_deleted(folder):
    probe.release_lock(folder)
    (folder / "lock").touch()
    probe.release_lock(folder)
    assert list(folder.iterdir()) == []


def test_a_lock_is_kept_while_its_process_or_the_compilers_run(folder, monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", COMPILING, str(folder)], stdout=subprocess.PIPE)
    compiler = int(process.stdout.readline())
    probe.release_lock(folder)
    assert (folder / "lock").exists()
    process.kill()
    process.wait()
    waited = []

    def end_the_compiler(_):
        waited.append((folder / "lock").exists())
        handle = os.pidfd_open(compiler)
        os.kill(compiler, signal.SIGKILL)
        select.select([handle], [], [])
        os.close(handle)

    monkeypatch.setattr(probe, "time", SimpleNamespace(sleep=end_the_compiler))
    probe.release_lock(folder)
    process.stdout.close()
    assert waited == [True]
    assert not (folder / "lock").exists()
