"""The guard of the application's process: what it refuses, what it lists, and what engines may contact offline."""

import asyncio
import contextlib
import contextvars
import subprocess
import sys

import pytest

from paragone import InputError
from paragone.network.addresses import host_and_port, is_loopback, spelled
from paragone.network.guard import Contact, ContactRefused, Guard


@pytest.fixture
def guard():
    return Guard()


def listed(guard):
    return [(contact.engine, contact.address, contact.refused) for contact in guard.contacts]


def connect(guard, host, port):
    guard.check("socket.connect", (None, (host, port)))


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
def test_addresses_have_one_spelling(address, found):
    assert host_and_port(address) == found


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::ffff:127.0.0.1", ""]
)
def test_loopback_is_known(host):
    assert is_loopback(spelled(host))


@pytest.mark.parametrize("host", ["10.0.0.7", "localhost.example.org", "box", "127.0.0.1.example"])
def test_other_machines_are_no_loopback(host):
    assert not is_loopback(spelled(host))


def test_an_address_that_no_engine_names_is_refused_and_listed(guard):
    told: list[Contact] = []
    guard.on_contact.append(told.append)
    guard.name(["http://10.0.0.7:8000"], "q")
    for host, port in [("10.0.0.7", 8001), ("10.0.0.8", 8000), ("127.0.0.1", 8000)]:
        with pytest.raises(
            ContactRefused, match=f"{host}:{port} is not contacted: no engine names this address"
        ):
            connect(guard, host, port)
    connect(guard, "10.0.0.7", 8000)
    assert listed(guard)[-1] == ("q", "10.0.0.7:8000", "")
    assert [contact.refused != "" for contact in told] == [True, True, True, False]


def test_an_address_that_is_named_for_no_engine_in_particular_may_be_contacted(guard):
    contextvars.Context().run(guard.name, ["10.0.0.7:8000"])
    connect(guard, "10.0.0.7", 8000)
    assert listed(guard) == [("an engine", "10.0.0.7:8000", "")]


def test_a_contact_is_listed_once_for_each_engine(guard):
    guard.name(["http://10.0.0.7:8000"], "q")
    for _ in range(3):
        connect(guard, "10.0.0.7", 8000)
    guard.name(["10.0.0.7:8000"], "r")
    connect(guard, "10.0.0.7", 8000)
    assert listed(guard) == [("q", "10.0.0.7:8000", ""), ("q, r", "10.0.0.7:8000", "")]


def test_a_name_may_be_looked_up_and_its_addresses_contacted(guard):
    guard.name(["http://box:8000"], "q")
    guard.check("socket.getaddrinfo", ("BOX", 8000, 0, 1, 0))
    with pytest.raises(ContactRefused):
        connect(guard, "10.0.0.7", 8000)
    guard.looked_up("box", "10.0.0.7")
    connect(guard, "10.0.0.7", 8000)
    with pytest.raises(ContactRefused):
        connect(guard, "10.0.0.7", 22)
    assert listed(guard)[-2:] == [
        ("q", "10.0.0.7:8000", ""),
        ("", "10.0.0.7:22", "no engine names this address"),
    ]


def test_what_localhost_means_may_be_contacted(guard):
    guard.name(["http://localhost:8000"], "q")
    for host in ("127.0.0.1", "::1"):
        connect(guard, host, 8000)


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.getaddrinfo", ("secret.example.org", 443, 0, 0, 0)),
        ("socket.getaddrinfo", (b"secret.example.org", None, 0, 0, 0)),
        ("socket.gethostbyname", ("secret.example.org",)),
        ("socket.gethostbyaddr", ("secret.example.org",)),
        ("socket.getnameinfo", (("secret.example.org", 80),)),
        ("socket.sendto", (None, ("8.8.8.8", 53))),
        ("socket.sendmsg", (None, ("8.8.8.8", 53))),
        ("socket.connect", (None, ("2001:db8::1", 443, 0, 0))),
        ("socket.connect", (None, (2, 1234))),
        ("socket.connect", (None, ("secret.example.org", 443))),
    ],
    ids=lambda value: str(value)[:24],
)
@pytest.mark.parametrize("offline", [False, True])
def test_every_way_out_is_refused(guard, event, arguments, offline):
    guard.is_offline = offline
    with pytest.raises(ContactRefused, match="offline" if offline else "no engine"):
        guard.check(event, arguments)
    assert len(guard.contacts) == 1


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, "/run/user/1000/bus")),
        ("socket.connect", (None, b"\0abstract")),
        ("socket.sendmsg", (None, None)),
        ("socket.getaddrinfo", (None, 8000, 0, 0, 0)),
        ("socket.getaddrinfo", ("10.0.0.7", 8000, 0, 0, 0)),
        ("socket.getaddrinfo", ("localhost", 8000, 0, 0, 0)),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_leads_nowhere_is_allowed_and_not_listed(guard, event, arguments):
    guard.is_offline = True
    guard.check(event, arguments)
    assert not guard.contacts


def test_offline_an_engine_at_another_machine_is_refused_by_name(guard):
    guard.name(["http://10.0.0.7:8000"], "q")
    guard.is_offline = True
    with pytest.raises(
        InputError, match=r"offline: it does not contact http://10\.0\.0\.7:8000, the address of q"
    ):
        guard.name(["http://10.0.0.7:8000"], "q")
    with pytest.raises(ContactRefused, match="paragone is offline"):
        connect(guard, "10.0.0.7", 8000)
    assert listed(guard) == [("q", "10.0.0.7:8000", "paragone is offline")]


def test_offline_loopback_is_refused_unless_it_is_allowed(guard):
    guard.is_offline = True
    with pytest.raises(InputError, match="local_servers = true"):
        guard.name(["http://127.0.0.1:11434"], "q")
    guard.allows_loopback = True
    guard.name(["http://127.0.0.1:11434"], "q")
    connect(guard, "127.0.0.1", 11434)
    with pytest.raises(ContactRefused):
        connect(guard, "127.0.0.1", 11435)
    with pytest.raises(InputError, match=r"does not contact http://10\.0\.0\.7:1"):
        guard.name(["http://10.0.0.7:1"], "r")


def test_offline_no_engine_gets_the_network_for_its_process(guard):
    task = contextvars.Context()
    task.run(guard.give_network, "llama.cpp with 10.0.0.7:50052", ["10.0.0.7:50052"])
    assert listed(guard) == [("llama.cpp with 10.0.0.7:50052", "10.0.0.7:50052", "")]
    guard.is_offline = guard.allows_loopback = True
    with pytest.raises(InputError, match="the address of big"):
        guard.name(["127.0.0.1:50052"], "big", is_local=True)
    with pytest.raises(InputError, match="llama-server with port = 8080 needs it"):
        guard.give_network("llama-server with port = 8080")


def test_only_the_task_that_looks_for_local_servers_may_contact_them(guard):
    with guard.looking_here("ollama"):
        connect(guard, "127.0.0.1", 11434)
        with pytest.raises(ContactRefused):
            connect(guard, "10.0.0.7", 11434)
        guard.is_offline = True
        with pytest.raises(ContactRefused):
            connect(guard, "127.0.0.1", 11434)
        guard.is_offline = False
    with pytest.raises(ContactRefused):
        connect(guard, "127.0.0.1", 11434)
    assert listed(guard)[0] == ("ollama", "127.0.0.1:11434", "")


async def test_an_address_that_is_known_late_belongs_to_the_engine_that_is_opened(guard):
    async def open_engine(name, port):
        guard.name((), name)
        await asyncio.sleep(0)
        guard.name([f"http://127.0.0.1:{port}"])

    await asyncio.gather(open_engine("a", 1), open_engine("b", 2))
    connect(guard, "127.0.0.1", 2)
    assert listed(guard) == [("b", "127.0.0.1:2", "")]


def test_going_offline_cuts_off_the_engines_that_have_the_network(guard):
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


def test_the_list_of_refusals_is_bounded(guard):
    for port in range(1, 1200):
        with contextlib.suppress(ContactRefused):
            connect(guard, "10.0.0.7", port)
    assert len(guard.contacts) == 1000
    guard.name(["10.0.0.7:2000"], "q")
    connect(guard, "10.0.0.7", 2000)
    assert listed(guard)[-1] == ("q", "10.0.0.7:2000", "")


CUT = """
import socket
from paragone.network.closing import cut_connections
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


def test_connections_are_cut_and_nothing_else():
    printed = subprocess.run([sys.executable, "-c", CUT], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["b'-'", "b'+'", "b''", "b''", "AF_INET"]


def test_a_contact_says_when_it_was_first(guard):
    guard.name(["10.0.0.7:1"], "q")
    connect(guard, "10.0.0.7", 1)
    (contact,) = guard.contacts
    assert contact == Contact("q", "10.0.0.7:1", contact.first, "")
