"""What commands contact: no server that no engine names, and nothing offline."""

import contextlib
import os
import select
import socket

import pytest
from tests.strangers import with_models
from tests.workbench.conversation_writer import ConversationWriter

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.store import Store

from .conftest import data, forked, said

FAR = "[engines.far]\nbackend = 'ollama'\nmodel = 'm'\nurl = '{url}'\n"


@pytest.fixture
def listener():
    """A port here to which nobody may connect: `untouched` says whether that holds."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def url(listener):
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def untouched(listener):
    return not select.select([listener], [], [], 0)[0]


@pytest.fixture
def answering(server):
    async def answer(exchange):
        await exchange.answer("Hello", ".")

    server.on_chat = answer
    return server


@pytest.mark.parametrize("how", ["option", "setting"])
def test_offline_an_engine_at_a_server_is_refused_by_name(how, listener, settings):
    settings("[network]\noffline = true\n" if how == "setting" else "")
    offline = ["--offline"] if how == "option" else []
    done = forked(*offline, "ask", f"openai:m@{url(listener)}", "Hi")
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"paragone is offline: it does not contact {url(listener)}, the address of m." in said(done)
    assert "local_servers = true" in said(done)
    assert "omit --offline" in said(done)
    assert untouched(listener)


@pytest.mark.parametrize(
    "command",
    [("engines",), ("engines", "models", "ollama"), ("engines", "pull", "far"), ("bench", "far")],
    ids=" ".join,
)
def test_no_command_contacts_a_server_offline(command, listener, settings, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", url(listener))
    settings(FAR.format(url=url(listener)))
    said(forked(*command, "--offline"))
    assert untouched(listener)


def test_offline_an_engine_whose_process_needs_the_network_is_refused_by_name(tmp_path):
    (tmp_path / "m.gguf").touch()
    done = forked(
        "ask", "--offline", f"llama_cpp:{tmp_path}/m.gguf", "Hi", "--set", "rpc_servers=10.0.0.7:50052"
    )
    assert done.returncode == 2
    assert "paragone is offline: it does not contact 10.0.0.7:50052, the address of m." in said(done)


CHILD = """
import subprocess, sys
code = "import socket; socket.create_connection(('127.0.0.1', {port}))"
subprocess.run([sys.executable, "-S", "-c", code], stderr=subprocess.DEVNULL)
print("the plugin was imported", file=sys.stderr)
"""
STRANGE_ENGINE = "[engines.q]\nbackend = 'stranger'\nmodel = 'm'\n"


@pytest.fixture
def calling(stranger, listener):
    """Installs a plugin whose import starts a program that connects to the port."""
    stranger(CHILD.format(port=listener.getsockname()[1]) + with_models("return []"))


def imported(done):
    return "the plugin was imported" in said(done)


@pytest.mark.parametrize("command", ["options stranger", "doctor", "report c1 --to x.html"])
def test_with_offline_processes_started_by_plugins_have_no_network(
    command, calling, listener, settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    settings(STRANGE_ENGINE)
    with contextlib.closing(Store.open()) as store:
        conversation = ConversationWriter(store, "Why is it so?")
        lane = conversation.lane(EngineDefinition(name="q", backend="stranger", model="m"))
        conversation.answer(conversation.conversation.prompts[0], lane, "Because.")
    assert imported(forked(*command.split(), "--offline"))
    assert untouched(listener)


@pytest.mark.parametrize(
    "text",
    [
        "network = { offline = true }\nnonsense = 1",
        "[network]\noffline = 'yes'",
        "[network]\noffline = true\n[lanes\n",
    ],
    ids=["inline", "wrong type", "broken file"],
)
def test_the_offline_setting_applies_despite_other_mistakes_in_the_file(
    text, calling, listener, settings, tmp_path
):
    elsewhere = tmp_path / "other.toml"
    elsewhere.write_text(text, encoding="utf-8")
    assert imported(forked("engines", "options", "stranger", "--config", str(elsewhere)))
    assert untouched(listener)


@pytest.mark.parametrize("text", ["", "# [network]\n# offline = true\n[lanes\n"])
def test_online_a_plugin_may_start_processes_with_network(text, calling, listener, settings):
    settings(text)
    assert imported(forked("engines", "options", "stranger"))
    assert not untouched(listener)


def test_offline_an_environment_is_created_only_from_local_wheels():
    done = forked("env", "create", "exllamav2", "--yes", "--offline")
    assert done.returncode == 2
    assert "--find-links" in said(done)


@pytest.mark.parametrize("how", ["option", "setting"])
def test_local_servers_can_be_used_offline_if_the_user_allows_it(how, answering, settings):
    settings("[network]\nlocal_servers = true\n" + ("offline = true\n" if how == "setting" else ""))
    offline = ["--offline"] if how == "option" else []
    done = forked(*offline, "ask", f"ollama:m@{answering.url}", "Hi")
    assert (done.returncode, done.stdout) == (0, b"Hello.\n"), said(done)
    done = forked(*offline, "ask", "ollama:m@http://10.0.0.7:1", "Hi")
    assert "it does not contact http://10.0.0.7:1" in said(done)


def test_local_servers_are_asked_only_if_the_user_allows_it(server, settings, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    done = forked("engines", "models", "--json")
    assert not server.requests
    assert data("engines models", done)["not_asked"] == ["ollama", "scripted_server"]
    assert "`paragone engines models ollama` asks" in said(forked("engines", "models"))
    assert "m:latest" in forked("engines", "models", "ollama").stdout.decode()
    server.requests.clear()
    settings("[network]\nlocal_servers = true\n")
    assert "m:latest" in forked("engines", "models").stdout.decode()


def test_offline_doctor_contacts_no_server_and_tests_the_restriction(listener, settings, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", url(listener))
    settings(FAR.format(url=url(listener)))
    done = forked("doctor", "--offline", "--json")
    said(done)
    assert untouched(listener)
    offline = data("doctor", done)["machine"]["offline"]
    assert (offline["holds"], offline["reason"]) == (True, "")
    assert offline["layer"] == ("seccomp" if os.uname().sysname == "Linux" else "sandbox_init")
