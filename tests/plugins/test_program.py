"""A foreign program as an engine's process: its output, its end, and that it leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import pytest
import pytest_asyncio
from tests.processes import gone

from paragone import EngineCrashed
from paragone.worker.process import EngineProcess


@pytest_asyncio.fixture
async def start():
    processes = []

    async def run(script, **options):
        processes.append(await EngineProcess.start(["sh", "-c", script], os.environ, **options))
        return processes[-1]

    yield run
    for process in processes:
        await process.close()


async def printed(process, text):
    async with asyncio.timeout(20):
        while text not in process.output():
            await asyncio.sleep(0.01)


async def test_a_programs_output_and_end_are_recorded(start, tmp_path):
    process = await start("echo one; echo two >&2; exit 3", log=str(tmp_path / "log"))
    assert await process.ended(20)
    assert process.output() == "one\ntwo\n" == (tmp_path / "log").read_text()
    error = process.error()
    assert isinstance(error, EngineCrashed)
    assert (error.status, error.log_tail) == (3, ("one", "two"))


async def test_endless_output_of_a_program_is_bounded_on_disk(start, tmp_path, monkeypatch):
    """Its first lines are kept, which describe its build, and its last."""
    monkeypatch.setattr("paragone.worker.process.LOG_LIMIT", 2**18)
    log = tmp_path / "log"
    process = await start("echo build; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end", log=str(log))
    assert await process.ended(60)
    assert log.read_text()[:6] == "build\n"
    assert process.error().log_tail[-1] == "end"
    assert log.stat().st_size <= 2**18


async def test_the_program_replaces_the_launcher(start):
    process = await start("echo $$; exec sleep 600")
    await printed(process, "\n")
    assert int(process.output()) == process.pid
    assert not await process.ended(0)


async def test_a_program_that_ignores_signals_is_killed(start, monkeypatch):
    monkeypatch.setattr("paragone.worker.process.GRACE", 0)
    process = await start("trap '' TERM INT HUP; echo ready; while :; do sleep 600; done")
    await printed(process, "ready")
    children = psutil.Process(process.pid).children()
    await process.close()
    for child in children:
        await gone(child.pid)
    assert not psutil.pid_exists(process.pid)
    assert process.error().message == "The engine was closed."


async def test_a_program_that_cannot_be_executed_is_reported(start, tmp_path):
    process = await EngineProcess.start([str(tmp_path)], os.environ)
    assert await process.ended(20)
    error = process.error()
    assert isinstance(error, EngineCrashed)
    assert error.status == 126
    assert process.output() == f"{tmp_path}: Permission denied\n"
    await process.close()


WRAPPED = """
import asyncio, os, sys
from paragone.worker.process import EngineProcess

async def main():
    process = await EngineProcess.start(["sh", "-c", "sleep 600 & echo $!; wait"], os.environ)
    while not process.output():
        await asyncio.sleep(0.01)
    print(process.pid, process.output(), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
"""An application that starts a script, which starts the real program and waits for it."""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, the launcher does not become the program")
@pytest.mark.parametrize("killed", ["application", "script"])
async def test_a_program_started_by_a_script_ends_too(killed):
    with subprocess.Popen([sys.executable, "-c", WRAPPED], stdout=subprocess.PIPE, text=True) as process:
        script, program = map(int, process.stdout.readline().split())
        assert psutil.pid_exists(program)
        os.kill(process.pid if killed == "application" else script, signal.SIGKILL)
        await gone(program)
        process.kill()


class TestSupervised:
    """What the launcher does where the kernel does not end a process with its parent."""

    SUPERVISE = (
        "import os, sys; from paragone.worker.start import supervise; "
        "supervise(['sh', '-c', sys.argv[1]], os.getppid())"
    )

    def run(self, script):
        return subprocess.run(
            [sys.executable, "-c", self.SUPERVISE, script], stdout=subprocess.PIPE, text=True, timeout=60
        )

    def test_the_launcher_exits_with_the_programs_status(self):
        assert self.run("exit 5").returncode == 5
        assert self.run("kill -SEGV $$").returncode == -signal.SIGSEGV

    async def test_the_program_ends_with_the_parent(self):
        parent = (
            "import subprocess, sys, time; "
            f"subprocess.Popen([sys.executable, '-c', {self.SUPERVISE!r}, 'echo $$; exec sleep 600']); "
            "time.sleep(600)"
        )
        with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
            pid = int(process.stdout.readline())
            assert psutil.pid_exists(pid)
            process.kill()
        await gone(pid)
