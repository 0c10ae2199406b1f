"""Keys, headers, certificates, proxies and the addresses that are contacted. No secret is shown or sent elsewhere."""

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import keyring
import keyring.backend
import keyring.errors
import pytest
import trustme
from hostile_server import OLLAMA, OPENAI, HostileServer
from tests.processes import gone

from paragone import InputError, Json, OpenRequest, ParagoneError
from paragone.network import GUARD
from paragone.options import address_option, describe
from paragone_remote.backend import OllamaBackend, OpenAIBackend
from paragone_remote.endpoint import find_key
from paragone_remote.options import EndpointOptions
from paragone_workbench.engines.registry import Registry

SECRET = "sk-verysecret"


@pytest.fixture
def protocol():
    """Give one protocol: keys, headers, certificates and proxies belong to the client of both."""
    return OPENAI


async def refused(backend, **options):
    with pytest.raises(ParagoneError) as caught:
        await backend.open(OpenRequest(model="m", options=options), lambda progress: None)
    return caught.value


def sent(server):
    """Return all that a server was sent in headers, as one text."""
    return "\n".join(f"{name}: {value}" for one in server.requests for name, value in one.headers.items())


HEADER = "may be a secret, which would be recorded"
PATH = "part of the url's path looks like a key"
NO_URL = "is not the URL of a server"
UNREADABLE = "The url cannot be read."
REFUSED: list[tuple[Any, str]] = [
    ({"key_command": "false"}, "key_command (false) printed no key: it exited with status 1."),
    (
        {"key_command": "no-such-program x"},
        "key_command cannot run no-such-program: no such file or directory.",
    ),
    ({"key_command": "echo 'x"}, "key_command has an unbalanced quotation mark."),
    ({"key_command": "yes"}, "key_command (yes) printed no key: it exited with status -9."),
    ({"key_env": "BOX_KEY"}, "The environment variable BOX_KEY is not set."),
    ({"key_env": SECRET}, "key_env is not the name of an environment variable."),
    ({"key_env": "A", "key_command": "b"}, "Both key_env and key_command are set."),
    ({"client_key": "/k.pem"}, "client_key is set, but not client_cert."),
    ({"headers": ["Content-Length: 5"]}, "The header Content-Length cannot be set."),
    ({"headers": [f"Authorization: Bearer {SECRET}"]}, HEADER),
    ({"headers": ["X-Team: hunter2"]}, HEADER),
    ({"headers": [f"X-Both: $HOME {SECRET}"]}, HEADER),
    ({"headers": ["no colon"]}, "An entry of headers does not have the form `Name: value`."),
    ({"headers": ["X-Two: $HOME a\r\nX-Three: b"]}, "The header X-Two contains characters"),
    ({"url": f"http://h:1/?key={SECRET}"}, "The url has a query or a fragment"),
    ({"url": f"http://h:1/v1#{SECRET}"}, "The url has a query or a fragment"),
    ({"url": f"http://h:1/{SECRET}/v1"}, PATH),
    ({"url": "http://h:1/v1/sk%2Dverysecret"}, PATH),
    ({"url": f"http://me:{SECRET}@127.0.0.1:1"}, "The url contains a user name or password"),
    *(({"url": url}, NO_URL) for url in ("ftp://box", "http://", "127.0.0.1:8000")),
    *(({"url": url}, UNREADABLE) for url in ("http://box:99999", "http://[:")),
    ({"url": "http://xn--\N{FULLWIDTH LATIN SMALL LETTER A}"}, "has an invalid host name"),
]


async def test_invalid_options_are_refused_before_any_request(backend, hostile):
    for options, message in REFUSED:
        error = await refused(backend, **{"url": hostile.url, **options})
        assert isinstance(error, InputError)
        assert message in error.message
        assert not any(secret in str(error) for secret in (SECRET, "sk%2D", "hunter2"))
    assert hostile.requests == []


def test_options_without_a_server_are_refused_without_a_request():
    with pytest.raises(InputError) as caught:
        Registry().get("openai").check("m", {})
    assert caught.value.message == "The address of the server is not set."
    for options, message in REFUSED:
        if (
            "key_command" not in options
            and options.get("key_env") != "BOX_KEY"
            and "$HOME a" not in str(options)
        ):
            with pytest.raises(InputError, match=re.escape(message)):
                Registry().get("ollama").check("m", options)


async def test_a_key_command_may_leave_processes_running(hostile, open_lane, tmp_path):
    """An agent, say, that keeps hold of the pipe. It is not waited for."""
    await open_lane(hostile, key_command=f"sh -c 'sleep 600 & echo $! > {tmp_path}/child; echo {SECRET}'")
    assert SECRET in sent(hostile)
    child = int((tmp_path / "child").read_text())
    assert alive(child)
    os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this looks into /proc")
async def test_a_hanging_key_command_is_killed_with_its_child_processes(
    backend, hostile, tmp_path, monkeypatch
):
    os.mkfifo(tmp_path / "child")
    limit, begun = asyncio.timeout(None), asyncio.Event()

    def timeout(seconds):
        begun.set()
        return limit

    monkeypatch.setattr(asyncio, "timeout", timeout)
    command = f"sh -c 'sleep 600 & echo $! > {tmp_path}/child; wait'"

    async def run_out():
        """End the time of the command once its child runs."""
        child = int(await asyncio.to_thread((tmp_path / "child").read_text))
        await begun.wait()
        monkeypatch.undo()
        limit.reschedule(asyncio.get_running_loop().time())
        return child

    error, child = await asyncio.gather(refused(backend, url=hostile.url, key_command=command), run_out())
    assert error.message == "key_command (sh) printed no key in 60 seconds."
    await gone(child)


def alive(pid):
    """Say whether a process is there and computes: init may take its time to bury one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_spaces_around_a_key_are_removed_and_the_users_headers_sent(hostile, open_lane, monkeypatch):
    monkeypatch.setenv("BOX_KEY", f" {SECRET} ")
    headers = ["X-Token: $BOX_KEY", "Host: box.example", "User-Agent: me"]
    lane = await open_lane(hostile, key_env="BOX_KEY", headers=headers)
    assert SECRET not in repr((lane.engine.loaded, vars(lane.engine)))
    assert hostile.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    first = hostile.requests[0].headers
    assert [first[name] for name in ("x-token", "host", "user-agent")] == [SECRET, "box.example", "me"]
    assert hostile.heads[0].lower().count("host:") == 1


async def test_a_key_in_the_path_of_the_url_comes_from_a_variable(hostile, open_lane, monkeypatch):
    """The requests have the key; neither what the engine says of itself nor an error has."""
    monkeypatch.setenv("GATE", SECRET)
    paths, reply = [], hostile._reply

    async def behind_a_gate(exchange):
        paths.append(exchange.request.path)
        exchange.request.path = exchange.request.path.removeprefix(f"/{SECRET}")
        await reply(exchange)

    monkeypatch.setattr(hostile, "_reply", behind_a_gate)
    path = "/${GATE}/v1"
    lane = await open_lane(hostile, url=hostile.url + path)
    assert all(path.startswith(f"/{SECRET}/") for path in paths), paths
    assert lane.engine.loaded.facts["origin"] == hostile.url + path
    assert SECRET not in repr(lane.engine.loaded)


async def test_host_names_are_accepted_in_any_case_and_script(backend, monkeypatch):
    def no_name(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)  # stands in for a resolver off this machine
    for host in ("bücher.example", "BOX.example"):
        error = await refused(backend, url=f"http://{host}")
        assert error.message == f"There is no host named {host.lower()}."


async def test_no_key_or_trace_of_this_machine_is_sent_unasked(hostile, open_lane, monkeypatch):
    """The official clients of both protocols read such keys, and tell servers about this machine."""
    for name in ("OLLAMA_API_KEY", "OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")

    async def chat(exchange):
        await exchange.begin(set_cookie="who=you; Path=/")
        await exchange.say("Hello.")
        await exchange.send(exchange.protocol.end())

    hostile.on_chat = chat
    lane = await open_lane(hostile)
    for _ in range(2):
        _, error = await lane.ask()
        assert error is None
    assert "cookie" not in sent(hostile).lower()
    assert SECRET not in sent(hostile)
    assert "authorization" not in sent(hostile)
    assert "stainless" not in sent(hostile)
    assert {request.headers["user-agent"] for request in hostile.requests} == {"paragone"}


async def test_a_key_repeated_in_a_servers_description_is_hidden(hostile, open_lane, backend, monkeypatch):
    """What a server is goes into every manifest."""
    monkeypatch.setenv("BOX_KEY", SECRET)
    hostile.replies["/props"] = {"total_slots": 1, "build_info": f"b1 for {SECRET}"}
    lane = await open_lane(hostile, key_env="BOX_KEY")
    report = await backend.endpoint({"url": hostile.url, "key_env": "BOX_KEY"})
    assert lane.engine.loaded.facts["server"].endswith(" for •••")
    assert report.probe.facts["server"].endswith(" for •••")


async def test_a_key_repeated_in_a_redirect_is_hidden(hostile, backend, monkeypatch):
    monkeypatch.setenv("BOX_KEY", SECRET)
    hostile.replies["/v1/models"] = lambda exchange: exchange.begin(
        307, location=f"http://evil.example/{SECRET}/x"
    )
    error = await refused(backend, url=hostile.url, key_env="BOX_KEY")
    assert "redirects to http://evil.example/•••/x (307)" in error.message
    assert SECRET not in str(error)


async def test_a_key_in_a_path_repeated_by_the_server_is_hidden(backend, hostile, monkeypatch):
    key = "geheim/ß"

    async def refuse(exchange):
        await exchange.refuse(500, json.dumps({"error": f"{exchange.request.path} failed"}))

    monkeypatch.setenv("GATE", key)
    monkeypatch.setattr(hostile, "_reply", refuse)
    error = await refused(backend, url=f"{hostile.url}/$GATE/v1")
    assert "/•••/" in str(error)
    assert quote(key, safe="") not in str(error)


async def test_proxies_are_used_only_with_the_option(hostile, open_lane, protocol, monkeypatch):
    proxy = HostileServer(protocol)
    await proxy.start()
    try:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await open_lane(hostile)
        assert proxy.requests == []
        direct = len(hostile.requests)
        await open_lane(hostile, use_proxy=True)
        assert len(hostile.requests) == direct
        assert proxy.requests[0].path.startswith(hostile.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        await open_lane(hostile, use_proxy=True)
        assert len(hostile.requests) > direct
    finally:
        await proxy.stop()


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.usefixtures("no_proxies")
async def test_an_unusable_proxy_is_reported(backend, monkeypatch):
    unusable = "The proxy in the environment variables cannot be used."
    for proxy, message in (
        ("socks5://127.0.0.1:1", unusable),
        ("http://127.0.0.1:99999", unusable),
        ("http://[::1", unusable),
        ("127.0.0.1:1", "http://box.example cannot be reached through the proxy."),
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        error = await refused(backend, url="http://box.example", use_proxy=True)
        assert error.message == message


async def test_proxy_variables_have_no_effect_without_the_option(backend, monkeypatch):
    """httpx looks there by default, whenever it makes a client."""
    for name, value in (("ALL_PROXY", "socks5://127.0.0.1:1"), ("SSL_CERT_FILE", "/nowhere/ca.pem")):
        monkeypatch.setenv(name, value)
    report = await backend.endpoint({"url": "http://127.0.0.1:1"})
    assert report.probe.reason == "Nothing answers at http://127.0.0.1:1: the connection was refused."


both = pytest.mark.parametrize("protocol", [OLLAMA, OPENAI], ids=lambda protocol: protocol.name)


@both
def test_the_reached_address_has_the_servers_port(backend):
    for options, addresses in (
        ({"url": "http://box:8000"}, ("http://box:8000",)),
        ({"url": "https://Box.example/llm"}, ("https://box.example:443",)),
        ({"url": "http://[::1]:9"}, ("http://[::1]:9",)),
        ({"url": "http://user:secret@box:8000"}, ()),  # options that open no engine reach nothing
        ({"url": "http://box:99999"}, ()),
        ({"no_such_option": 1}, ()),
    ):
        assert backend.reaches("m", options) == addresses


def test_without_a_url_the_default_address_is_reached():
    for options in ({}, {"url": None}):
        assert OllamaBackend().reaches("m", options) == ("http://127.0.0.1:11434",)
        assert OpenAIBackend().reaches("m", options) == ()  # it has none, and opening it fails


@both
@pytest.mark.usefixtures("no_proxies")
def test_a_proxy_is_listed_as_reached_only_if_used(backend, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "other.example")
    options: dict[str, Json] = {"url": "https://box.example"}
    assert backend.reaches("m", options) == ("https://box.example:443",)
    options["use_proxy"] = True
    proxied = backend.reaches("m", options)
    assert proxied == ("https://box.example:443", "http://proxy.example:3128")
    assert "secret" not in repr(proxied)
    options["url"] = "http://box.example"
    assert backend.reaches("m", options) == ("http://box.example:80", "http://other.example:80")
    monkeypatch.setenv("NO_PROXY", "box.example")
    assert backend.reaches("m", options) == ("http://box.example:80",)


@both
def test_options_declare_the_address_and_the_secrets(backend):
    address = address_option(backend.load_options)
    assert address is not None
    assert address.name == "url"
    assert {info.name for info in describe(backend.load_options) if info.secret} == {"headers", "key_command"}
    assert not [info for info in describe(backend.sampling) if info.secret or info.address]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
async def secure(protocol, authority):
    """Give a server with a certificate that nobody here trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = HostileServer(protocol)
    await server.start(tls=context)
    yield server
    await server.stop()


async def test_a_client_certificate_is_used(protocol, backend, open_lane, authority, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = HostileServer(protocol)
    await server.start(tls=context)
    ca, cert, key = tmp_path / "ca.pem", tmp_path / "me.pem", tmp_path / "me.key"
    authority.cert_pem.write_to_path(ca)
    mine = authority.issue_cert("me@example.org")
    mine.cert_chain_pems[0].write_to_path(cert)
    mine.private_key_pem.write_to_path(key)
    try:
        error = await refused(backend, url=server.url)
        assert error.message.startswith(f"The certificate of {server.url} is not trusted: ")
        assert "ca_file" in error.hint
        error = await refused(backend, url=server.url, ca_file=str(ca))
        assert "client certificate" in str(error)
        await open_lane(server, ca_file=str(ca), client_cert=str(cert), client_key=str(key))
    finally:
        await server.stop()


async def test_unusable_certificate_files_are_refused(secure, backend, tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    for options in (
        {"ca_file": "~nobody-here/ca.pem"},
        {"ca_file": str(tmp_path / "none.pem")},
        {"ca_file": str(tmp_path / "empty.pem")},
        {"client_cert": str(tmp_path / "empty.pem")},
        {"client_key": str(tmp_path / "empty.pem")},
    ):
        error = await refused(backend, url=secure.url, **options)
        assert isinstance(error, InputError)
        assert next(iter(options)) in error.message

    # a name that is too long fails for root, too
    error = await refused(backend, url=secure.url, ca_file=str(tmp_path / ("x" * 300)))
    assert error.message.endswith("cannot be read: File name too long.")


async def test_https_to_a_server_without_tls_is_reported(hostile, backend):
    error = await refused(backend, url=hostile.url.replace("http:", "https:"))
    assert "does not speak TLS" in error.message
    assert "http://" in error.hint


def test_checking_options_reads_no_environment_and_no_files():
    options = {"url": "http://h:1", "key_env": "NOT_SET", "ca_file": "/nowhere", "headers": ["X: $NOR_THIS"]}
    Registry().get("openai").check("m", options)
    Registry().get("ollama").check("m", {"key_command": "/nowhere/nothing"})
    for url in (None, ""):  # taken out by a setting: the usual place is meant, as when it is opened
        Registry().get("ollama").check("m", {"url": url})


# ── The system's keyring ─────────────────────────────────────────────────────────────────────


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A test double of a system's keyring, in memory."""

    priority = 1

    def __init__(self, key="", error=None):
        self.key = key
        self.error = error

    def get_password(self, service, username):
        if self.error is not None:
            raise self.error
        return self.key if (service, username) == ("https://gpu-box:8443", "me") else None

    def set_password(self, service, username, password):
        raise NotImplementedError

    def delete_password(self, service, username):
        raise NotImplementedError


@pytest.fixture
def system_keyring():
    """Put a keyring in the place of the system's."""
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


ENTRY = "https://gpu-box:8443/me"


async def test_a_key_is_read_from_the_keyring(hostile, open_lane, system_keyring):
    system_keyring(MemoryKeyring(SECRET))
    await open_lane(hostile, key_keyring=ENTRY)
    assert all(request.headers["authorization"] == f"Bearer {SECRET}" for request in hostile.requests)


async def test_a_keyring_without_the_key_is_reported(backend, hostile, system_keyring):
    locked, missing = keyring.errors.KeyringLocked(SECRET), keyring.errors.NoKeyringError()
    for failure, entry, message in (
        (None, "other/me", "The system's keyring has no key of the user me for the service other."),
        (None, "gpu-box", "key_keyring does not name an entry of the keyring."),
        (locked, ENTRY, "The system's keyring gave no key (KeyringLocked)."),
        (missing, ENTRY, "This system has no keyring that can be used."),
    ):
        system_keyring(MemoryKeyring(SECRET, failure))
        error = await refused(backend, url=hostile.url, key_keyring=entry)
        assert (error.message, hostile.requests) == (message, [])
        assert SECRET not in str(error)


async def test_a_keyring_that_hangs_is_reported(backend, hostile, system_keyring, monkeypatch):
    answer = threading.Event()
    waiting = MemoryKeyring(SECRET)
    monkeypatch.setattr(waiting, "get_password", lambda service, user: answer.wait() and None)
    monkeypatch.setattr("paragone_remote.endpoint._PATIENCE", 0)
    system_keyring(waiting)
    error = await refused(backend, url=hostile.url, key_keyring=ENTRY)
    answer.set()
    assert error.message == "The system's keyring gave no key within 0 seconds."


async def test_a_missing_keyring_package_is_reported(backend, hostile, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    error = await refused(backend, url=hostile.url, key_keyring=ENTRY)
    assert "needs the package keyring" in error.message
    assert "keyring<26" in error.hint


@pytest.mark.usefixtures("new_interpreters")
@pytest.mark.parametrize("offline", [False, True])
async def test_offline_a_key_command_has_no_network_access(offline, monkeypatch):
    monkeypatch.setattr(GUARD, "is_offline", offline)
    look = "from paragone.worker.confinement import kinds_of_sockets_that_open; print(kinds_of_sockets_that_open() == ())"
    options = EndpointOptions(key_command=shlex.join([sys.executable, "-c", look]))
    assert await find_key(options) == str(offline)
