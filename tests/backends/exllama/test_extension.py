"""The lock of a compilation: a killed process's lock is removed, a running one's is kept."""

import asyncio
import os
import signal
import sys

import pytest

from paragone_exllama.library import extension_folder, release_lock

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
    folder = extension_folder("exllamav2", "13.0")
    folder.mkdir(parents=True)
    return folder


def test_a_stale_lock_is_deleted(folder):
    release_lock(folder)
    (folder / "lock").touch()
    release_lock(folder)
    assert list(folder.iterdir()) == []


async def test_a_lock_is_kept_while_its_process_or_the_compilers_run(folder):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMPILING, str(folder), stdout=asyncio.subprocess.PIPE
    )
    compiler = int(await process.stdout.readline())
    release_lock(folder)
    assert (folder / "lock").exists()
    process.kill()
    while process.returncode is None:  # its pipe stays open, because the compiler inherited it
        await asyncio.sleep(0.01)
    released = asyncio.ensure_future(asyncio.to_thread(release_lock, folder))
    done, _ = await asyncio.wait({released}, timeout=0.5)
    assert not done
    assert (folder / "lock").exists()
    os.kill(compiler, signal.SIGKILL)
    async with asyncio.timeout(10):
        await released
    assert not (folder / "lock").exists()
