"""The guard of a whole process, what the system holds offline, and the log of contacts."""

import subprocess
import sys

import pytest

from paragone import InputError
from paragone.network.guard import Contact
from paragone.worker.child_process.confinement import what_opens
from paragone_workbench.network import contact_log
from paragone_workbench.network.contact_log import append, read_contacts


def printed(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_python_s_own_sockets_are_guarded_in_a_whole_process():
    """With a real server, found by the name localhost, and calls that must not leave the machine."""
    lines = printed("""
import asyncio, socket
from paragone.network.guard import GUARD
from paragone_workbench.network.start import watch
watch("test", offline=False, config=None)
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
def refused(call):
    try:
        call()
    except PermissionError as error:
        return True
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(refused(lambda: socket.create_connection(("127.0.0.1", port))))
print(refused(lambda: socket.getaddrinfo("example.invalid", 80)))
print(refused(lambda: udp.sendto(b"-", ("127.0.0.1", port))))
print(refused(lambda: udp.connect(("127.0.0.1", port))))
async def connect():
    _, writer = await asyncio.open_connection("localhost", port)
    writer.close()
print(refused(lambda: asyncio.run(connect())))
GUARD.name([f"http://localhost:{port}"], "q")
print(refused(lambda: asyncio.run(connect())))
print(GUARD.contacts[-1].engine, GUARD.contacts[-1].address == f"127.0.0.1:{port}")
""")
    assert lines == ["True"] * 5 + ["None", "q True"]


def test_a_host_name_may_be_contacted_at_the_addresses_that_its_lookup_gave():
    lines = printed("""
import socket
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, port, *rest, **named: look_up("127.0.0.1", port, *rest, **named)
from paragone.network.guard import GUARD
GUARD.install()
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
GUARD.name([f"http://box.invalid:{port}"], "q")
try:
    socket.create_connection(("127.0.0.1", port))
except PermissionError:
    print("refused before the lookup")
socket.create_connection(("box.invalid", port))
print([(contact.engine, bool(contact.refused)) for contact in GUARD.contacts])
""")
    assert lines == ["refused before the lookup", "[('', True), ('q', False)]"]


OFFLINE = """
import subprocess, sys
from paragone.network.guard import GUARD
from paragone.worker.child_process.confinement import what_opens
from paragone_workbench.config.settings import NetworkSettings
from paragone_workbench.network.start import apply_network_settings
print("warning", apply_network_settings(NetworkSettings(offline={offline}, local_servers={local})))
print("opens", *what_opens())
code = "from paragone.worker.child_process.confinement import what_opens; print('opens', *what_opens())"
sys.stdout.flush()
subprocess.run([sys.executable, "-c", code])
"""
HERE = " ".join(("opens", *what_opens()))


@pytest.mark.parametrize(
    ("offline", "local", "opens"),
    [(False, False, HERE), (True, False, "opens"), (True, True, HERE)],
    ids=["online", "offline", "offline but for loopback"],
)
def test_offline_the_system_closes_the_network_to_the_program_and_what_it_starts(offline, local, opens):
    assert HERE != "opens"
    warning, *lines = printed(OFFLINE.format(offline=offline, local=local))
    if warning.startswith("warning Only paragone's own guard keeps the program offline"):
        pytest.skip("the system refuses to close the network")
    assert lines == [opens, opens]


def test_a_system_that_cannot_hold_it_is_named():
    code = "import os, types; os.uname = lambda: types.SimpleNamespace(machine='s390x')\n"
    warning, *_ = printed(code + OFFLINE.format(offline=True, local=False))
    if sys.platform == "linux":
        assert warning.endswith("not the system: paragone does not know the system calls of s390x.")


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="the other machine is a Linux machine")
def test_a_command_warns_once_if_the_system_cannot_hold_it():
    done = subprocess.run(
        [sys.executable, "-c", """
import os, types
os.uname = lambda: types.SimpleNamespace(machine="s390x")
from paragone_cli.main import main
main(["ask", "--offline", "rogue:steady", "Hi"])
main(["options", "--offline", "rogue"])
"""],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.count("not the system: paragone does not know the system calls of s390x.") == 2


def test_what_is_logged_is_read_again():
    append(Contact("q", "10.0.0.7:80", 12.5), "ask")
    append(Contact("", "10.0.0.7:81", 13.5, "paragone is offline"), "")
    first, second = read_contacts()
    assert (first.command, first.engine, first.address, first.time) == ("ask", "q", "10.0.0.7:80", 12.5)
    assert (second.command, second.refused) == ("", "paragone is offline")
    with contact_log.contact_log().open("ab") as log:
        log.write(b'{"time": \xff\n[]\n')
    assert read_contacts() == [first, second]


def test_a_log_that_cannot_be_read_is_an_error_and_a_missing_one_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(contact_log, "contact_log", lambda: tmp_path / "none.jsonl")
    assert read_contacts() == []
    monkeypatch.setattr(contact_log, "contact_log", lambda: tmp_path / ("n" * 300))
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_contacts()


def test_the_log_is_bounded(monkeypatch):
    monkeypatch.setattr(contact_log, "LARGEST", 5000)
    for port in range(200):
        append(Contact("q", f"10.0.0.7:{port}", float(port)), "ask")
        assert contact_log.contact_log().stat().st_size <= 5000 + 200
    found = read_contacts()
    assert [contact.time for contact in found] == [float(port) for port in range(200 - len(found), 200)]
    assert len(found) > 10


def test_a_log_that_cannot_be_written_hinders_nobody(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(contact_log, "contact_log", lambda: tmp_path / "file" / "contacts.jsonl")
    append(Contact("q", "10.0.0.7:80", 12.5), "ask")
