"""The processes of local engines: which sockets they can open, and which variables they get."""

import asyncio
import ctypes
import errno
import os
import signal
import subprocess
import sys
import types

import pytest
from rogue_backend.plugin import RogueBackend

from paragone import InputError, OpenRequest
from paragone.network import GUARD, Confinement
from paragone.worker.confinement import close_network, kinds_of_sockets_that_open
from paragone.worker.process import EngineProcess, passed_variables, try_confinement

HERE = kinds_of_sockets_that_open()
"""What a process can open here without any confinement: some machines have no IPv6."""

LOOK = """
import subprocess, sys
look = "from paragone.worker.confinement import kinds_of_sockets_that_open; print('opens', *kinds_of_sockets_that_open())"
exec(look)
sys.stdout.flush()
subprocess.run([sys.executable, "-c", look])
"""

PR_CAPBSET_DROP = 24

pytestmark = pytest.mark.usefixtures("new_interpreters")


@pytest.fixture(scope="module", autouse=True)
def network_can_be_closed():
    """Skip these tests where the system refuses to close the network."""
    reason = asyncio.run(try_confinement()).reason
    if reason.startswith("The system refuses it"):
        pytest.skip(reason)


async def facts_of(**options):
    request = OpenRequest(model="prying", options=options)
    engine = await RogueBackend().open(request, lambda progress: None)
    await engine.close()
    return engine.loaded.facts


async def test_a_local_engine_and_its_child_processes_cannot_open_sockets():
    facts = await facts_of()
    assert HERE
    assert (facts["opens"], facts["child opens"]) == ("", "")


async def test_an_engine_whose_options_name_an_address_has_network_access():
    facts = await facts_of(peers=["127.0.0.1:50052"])
    assert facts["opens"].split() == facts["child opens"].split() == list(HERE)


@pytest.mark.parametrize(("network", "opens"), [(True, HERE), (False, ())], ids=["open", "closed"])
async def test_an_allowed_program_has_network_access(network, opens):
    process = await EngineProcess.start([sys.executable, "-c", LOOK], os.environ, network=network)
    try:
        assert await process.ended(30)
        assert process.output().splitlines() == [" ".join(("opens", *opens))] * 2
    finally:
        await process.close()


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="calls of Linux on x86-64"
)
def test_system_calls_that_would_bypass_the_socket_filter_are_refused():
    io_uring_setup, pidfd_getfd, x32_socket = 425, 438, 0x40000000 + 41
    code = f"""
import ctypes
from paragone.worker.confinement import close_network
libc = ctypes.CDLL(None, use_errno=True)
close_network()
for call in ({io_uring_setup}, {pidfd_getfd}, {x32_socket}):
    print(libc.syscall(ctypes.c_long(call), 2, 1, 0), ctypes.get_errno())
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == f"-1 {errno.ENOSYS} -1 {errno.EACCES} -1 {errno.ENOSYS}".split()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(pidfd_getfd), -1, 0, 0)
    assert ctypes.get_errno() != errno.EACCES, "this kernel refuses the call anyway: the test shows nothing"


def test_running_threads_lose_network_access_too():
    code = """
import threading
from paragone.worker.confinement import close_network, kinds_of_sockets_that_open
closed = threading.Event()
thread = threading.Thread(target=lambda: closed.wait() and print(kinds_of_sockets_that_open()))
thread.start()
close_network()
closed.set()
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "()\n"


async def test_keys_stay_out_of_the_environment_of_an_engine(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("HF_TOKEN", "hf-secret")
    monkeypatch.setenv("GGML_API_KEY", "secret")
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("MY_LIBRARY_LOG", "1")
    monkeypatch.setenv("OTHER_TOKEN", "1")
    monkeypatch.setenv("PARAGONE_PASS_ENV", "MY_LIBRARY_*, OTHER_TOKEN")
    names = set((await facts_of())["variables"].split())
    assert {"PATH", "HOME", "GGML_VK_VISIBLE_DEVICES", "MY_LIBRARY_LOG", "OTHER_TOKEN"} <= names
    assert not {"OPENAI_API_KEY", "HF_TOKEN", "GGML_API_KEY"} & names


def test_an_engine_cannot_read_the_keys_in_the_environment_of_the_program():
    program = """
import asyncio
from rogue_backend.plugin import RogueBackend
from paragone import OpenRequest
async def main():
    engine = await RogueBackend().open(OpenRequest(model="prying"), lambda progress: None)
    print(engine.loaded.facts["key"])
    await engine.close()
asyncio.run(main())
"""
    libc = ctypes.CDLL(None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_TOKEN": "hf-secret"},
        # root may read everything, without this
        preexec_fn=lambda: [libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) for capability in range(64)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "PermissionError\n"


def test_only_listed_variables_are_passed(monkeypatch):
    variables = {
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "1",
        "LLAMA_API_KEY": "k",
        "AWS_PROFILE": "p",
        "XPATH": "x",
    }
    monkeypatch.setattr(os, "environ", variables)
    assert set(passed_variables()) == {"LC_ALL", "OMP_NUM_THREADS"}


async def test_the_network_restriction_is_tested_by_opening_sockets():
    assert await try_confinement() == Confinement(
        layer="seccomp" if sys.platform == "linux" else "sandbox_init", holds=True
    )


async def test_a_system_that_cannot_close_the_network_is_reported(monkeypatch, tmp_path):
    refusing = tmp_path / "python"
    refusing.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(refusing))
    assert (await try_confinement()).reason == "The system refuses it: Operation not permitted."
    refusing.write_text("#!/bin/sh\necho 'TCP UDP'\n")
    found = await try_confinement()
    assert not found.holds
    assert found.reason == "The trial could open these sockets: TCP UDP."


async def test_a_cancelled_confinement_trial_ends_its_process(monkeypatch, tmp_path, started_processes):
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 1000\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    trial = asyncio.create_task(try_confinement())
    while not started_processes:
        await asyncio.sleep(0.01)
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    assert started_processes[0].returncode == -signal.SIGKILL


def test_a_machine_with_unknown_system_calls_is_reported(monkeypatch):
    if sys.platform != "linux":
        pytest.skip("the filter is for Linux")
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine="s390x"))
    with pytest.raises(OSError, match="paragone does not know the system calls of s390x"):
        close_network()


async def test_offline_no_engine_gets_network_access(monkeypatch):
    monkeypatch.setattr(GUARD, "is_offline", True)
    with pytest.raises(InputError, match=r"gets network access, and Rogue with 127\.0\.0\.1:50052 needs it"):
        await facts_of(peers=["127.0.0.1:50052"])
    process = await EngineProcess.start([sys.executable, "-c", LOOK], os.environ)
    try:
        assert await process.ended(30)
        assert process.output().splitlines() == ["opens"] * 2
    finally:
        await process.close()
