"""A llama-server offline: one at a Unix socket runs, one that needs a port is refused before it is started."""

from pathlib import Path

import pytest

from paragone import InputError
from paragone.network import GUARD
from paragone_remote.llama_server.executable import LlamaServerProgram
from paragone_remote.llama_server.process import listen_at

ABLE, UNABLE = {"--host": "address, or a path that ends in .sock: a Unix socket"}, {"--host": "address"}


@pytest.fixture(autouse=True)
def offline():
    GUARD.is_offline = True


def program(flags):
    return LlamaServerProgram(command=("llama-server",), name="llama-server", flags=flags, key=())


def test_at_a_unix_socket_it_runs():
    listening = listen_at(program(ABLE), None)
    assert Path(listening.socket).suffix == ".sock"


@pytest.mark.parametrize(
    ("flags", "port", "reason"),
    [
        (ABLE, 8080, "llama-server with port = 8080 needs it"),
        (UNABLE, None, "a llama-server that cannot listen at a Unix socket needs it"),
    ],
    ids=["a port that is set", "a build without Unix sockets"],
)
def test_at_a_port_it_is_refused_by_name(flags, port, reason, monkeypatch):
    monkeypatch.setattr("socket.socket", None)  # as if the system refused sockets
    with pytest.raises(InputError, match=f"no engine's process gets the network, and {reason}"):
        listen_at(program(flags), port)


def test_online_its_port_is_named_for_the_engine_that_is_opened():
    GUARD.is_offline = False
    GUARD.name((), "small")
    listening = listen_at(program(UNABLE), None)
    port = int(listening.origin.rpartition(":")[2])
    assert port
    GUARD.is_offline = True
    assert GUARD.cuts_off("small")
