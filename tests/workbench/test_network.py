"""What the system refuses to a whole process offline."""

import subprocess
import sys

import pytest

from paragone.worker.confinement import kinds_of_sockets_that_open


def printed(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()


OFFLINE = """
import subprocess, sys
from paragone.network import GUARD
from paragone.worker.confinement import kinds_of_sockets_that_open
from paragone_workbench.config.settings import NetworkSettings
from paragone_workbench.config.network import apply_network_settings
print("warning", apply_network_settings(NetworkSettings(offline={offline}, local_servers={local})))
print("opens", *kinds_of_sockets_that_open())
code = "from paragone.worker.confinement import kinds_of_sockets_that_open; print('opens', *kinds_of_sockets_that_open())"
sys.stdout.flush()
subprocess.run([sys.executable, "-c", code])
"""
HERE = " ".join(("opens", *kinds_of_sockets_that_open()))


@pytest.mark.parametrize(
    ("offline", "local", "opens"),
    [(True, False, "opens"), (True, True, HERE)],
    ids=["offline", "offline but for loopback"],
)
def test_offline_the_system_closes_the_network_to_the_program_and_its_child_processes(offline, local, opens):
    assert HERE != "opens"
    warning, *lines = printed(OFFLINE.format(offline=offline, local=local))
    if warning.startswith("warning Only paragone's own guard keeps the program offline"):
        pytest.skip("the system refuses to close the network")
    assert lines == [opens, opens]


def test_a_warning_names_a_system_that_cannot_close_the_network():
    code = "import os, types; os.uname = lambda: types.SimpleNamespace(machine='s390x')\n"
    warning, *_ = printed(code + OFFLINE.format(offline=True, local=False))
    if sys.platform == "linux":
        assert warning.endswith("not the system: paragone does not know the system calls of s390x.")
