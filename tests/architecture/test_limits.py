"""A test that hangs fails with its name, and does not keep the others from running."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = """
from tests.limits import Limits

def pytest_configure(config):
    config.pluginmanager.register(Limits())
"""

TESTS = """
import asyncio
import ctypes
import os
import time

import pytest

pytestmark = pytest.mark.xdist_group("all in one process")
hangs = pytest.mark.timeout(1)

def test_first():
    pass

@pytest.mark.timeout(5)  # a busy machine may take seconds to report it, and at twice the limit its process ends
async def test_waits():
    await asyncio.Event().wait()

@pytest.fixture
def waits_at_its_end():
    yield
    time.sleep(3600)

@hangs
def test_fails_and_waits_in_teardown(waits_at_its_end):
    raise AssertionError("the first failure")

@hangs
def test_waits_in_native_code():
    native, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
    native.pthread_mutex_lock(mutex)
    native.pthread_mutex_lock(mutex)  # POSIX: no signal interrupts it

def test_ends_its_process():
    os._exit(3)

def test_last():
    pass
"""


@pytest.mark.slow
def test_hanging_tests_fail_and_the_others_run(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_them.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    plugins = [
        word for name in ("xdist", "asyncio", "pytest_timeout", "no:cacheprovider") for word in ("-p", name)
    ]
    command += ["--disable-plugin-autoload", *plugins]
    command += ["-n", "1", "--dist", "loadgroup", str(tmp_path / "test_them.py")]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    run = subprocess.run(
        command, cwd=tmp_path, env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert run.returncode == 1, run.stdout + run.stderr
    failed = set(re.findall(r"^(?:FAILED|ERROR) test_them.py::(\w+)", run.stdout, re.MULTILINE))
    assert failed == {
        "test_waits",
        "test_fails_and_waits_in_teardown",
        "test_waits_in_native_code",
        "test_ends_its_process",
    }
    assert "2 passed" in run.stdout.splitlines()[-1]
    assert "Timeout (>5.0s) from pytest-timeout." in run.stdout
    assert re.search(r'test_them.py", line \d+ in test_waits_in_native_code', run.stderr), "no stack is shown"
    assert "crashed while running" in run.stdout
    assert "This test ended the process that ran it, and is not run again." in run.stdout
