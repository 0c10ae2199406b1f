"""The guard of the application's process: what engines may contact offline."""

import asyncio
import subprocess
import sys

import pytest

from paragone import InputError
from paragone.network import Guard, host_and_port, is_loopback, normalized_host


@pytest.fixture
def guard():
    return Guard()


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("http://Box:8000", ("box", 8000)),
        ("box:8000", ("box", 8000)),
        ("https://[0::1]:9/v1", ("::1", 9)),
        ("[::ffff:10.0.0.7]:9", ("10.0.0.7", 9)),
        ("http://bücher.example.:80", ("xn--bcher-kva.example", 80)),
        ("lines://gpu-box", ("gpu-box", 0)),
    ],
)
def test_spellings_of_an_address_are_the_same(address, found):
    assert host_and_port(address) == found


def test_loopback_is_distinguished_from_other_machines():
    own = ["127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::ffff:127.0.0.1", ""]
    others = ["10.0.0.7", "localhost.example.org", "box", "127.0.0.1.example"]
    assert [host for host in (*own, *others) if is_loopback(normalized_host(host))] == own


def test_offline_an_engine_at_another_machine_is_refused_by_name(guard):
    guard.name(["http://10.0.0.7:8000"], "q")
    guard.check("http://10.0.0.7:8000")
    guard.is_offline = True
    with pytest.raises(
        InputError, match=r"offline: it does not contact http://10\.0\.0\.7:8000, the address of q"
    ):
        guard.name(["http://10.0.0.7:8000"], "q")
    with pytest.raises(InputError, match=r"offline: it does not contact http://10\.0\.0\.7:8000\."):
        guard.check("http://10.0.0.7:8000")


def test_offline_loopback_is_refused_unless_it_is_allowed(guard):
    guard.is_offline = True
    with pytest.raises(InputError, match="local_servers = true"):
        guard.name(["http://127.0.0.1:11434"], "q")
    guard.allows_loopback = True
    guard.name(["http://127.0.0.1:11434"], "q")
    guard.check("http://127.0.0.1:11434")
    with pytest.raises(InputError, match=r"does not contact http://10\.0\.0\.7:1"):
        guard.name(["http://10.0.0.7:1"], "r")


def test_offline_no_process_of_an_engine_gets_network_access(guard):
    guard.is_offline = guard.allows_loopback = True
    with pytest.raises(InputError, match="the address of big"):
        guard.name(["127.0.0.1:50052"], "big", is_local=True)
    with pytest.raises(InputError, match="llama-server with port = 8080 needs it"):
        guard.give_network("llama-server with port = 8080")


async def test_an_address_found_during_opening_belongs_to_the_opened_engine(guard):
    async def open_engine(name, address):
        guard.name((), name)
        await asyncio.sleep(0)
        guard.name([address])

    await asyncio.gather(open_engine("a", "127.0.0.1:1"), open_engine("b", "10.0.0.7:2"))
    guard.is_offline = guard.allows_loopback = True
    assert [guard.cuts_off(name) for name in "ab"] == [False, True]


def test_going_offline_cuts_off_engines_with_network_access(guard):
    guard.name(["http://127.0.0.1:1"], "here")
    guard.name(["http://10.0.0.7:1", "http://127.0.0.1:1"], "there")
    guard.name((), "networked")
    guard.give_network("llama-server with port = 8080")
    guard.name(["http://127.0.0.1:8080"])

    def cut_off():
        return [name for name in ("here", "there", "networked", "other") if guard.cuts_off(name)]

    assert not cut_off()
    guard.is_offline = True
    assert cut_off() == ["here", "there", "networked"]
    guard.allows_loopback = True
    assert cut_off() == ["there", "networked"]


CUT = """
import socket
from paragone.network import cut_connections
server = socket.create_server(("127.0.0.1", 0))
own, theirs = socket.socketpair()
connection = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
cut_connections(spares_loopback=True)
connection.send(b"-")
print(accepted.recv(1))
cut_connections(spares_loopback=False)
own.send(b"+")
print(theirs.recv(1), connection.recv(1), accepted.recv(1))
socket.create_connection(server.getsockname())
print(server.accept()[0].family.name)
"""


def test_only_internet_connections_are_cut():
    printed = subprocess.run([sys.executable, "-c", CUT], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["b'-'", "b'+'", "b''", "b''", "AF_INET"]
