"""Commands that query the servers of config.toml. The servers are doubles that run in a thread."""

import pytest
from tests.strangers import install

from .conftest import data, paragone, said


@pytest.fixture
def engines(settings, server):
    """Two engines at the server, one at none, and a mistake that has nothing to do with them."""
    text = f"[engines.far]\nbackend = 'ollama'\nmodel = 'm'\nurl = '{server.url}'\n"
    text += f"[engines.wide]\nbackend = 'ollama'\nmodel = 'm'\nurl = '{server.url}'\nnum_ctx = 512\n"
    text += "[engines.gone]\nbackend = 'openai'\nmodel = 'm'\nurl = 'http://127.0.0.1:1'\n"
    return settings(text)


@pytest.fixture
def lost(engines, server):
    """One more engine, whose model the server does not have."""
    text = f"[engines.lost]\nbackend = 'ollama'\nmodel = 'nn'\nurl = '{server.url}'\n"
    engines.write_text(f"{engines.read_text()}{text}")


def test_doctor_describes_the_engines_servers(lost, engines, server):
    server.replies["/api/ps"] = {"models": [{"model": "m:latest", "size": 2**31, "size_vram": 2**31}]}
    engines.write_text(f"{engines.read_text()}[lane]\n")
    done = paragone("doctor", "--json")
    assert (done.returncode, said(done)) == (0, "")
    there, gone = data("doctor", done)["endpoints"]
    assert (there["backend"], there["address"]) == ("ollama", server.url)
    assert there["usable"]
    assert (there["engines"], there["models"]) == (["far", "lost", "wide"], ["m:latest"])
    assert there["facts"]["server"] == "Ollama 0.13.5"
    assert there["facts"]["loaded"] == "m:latest (2.1 GB, 100% in VRAM)"
    (problem,) = there["problems"]
    assert (problem["engine"], problem["usable"]) == ("lost", False)
    assert (gone["usable"], gone["engines"]) == (False, ["gone"])
    assert "the connection was refused" in gone["reason"]
    engines.write_text(engines.read_text().removesuffix("[lane]\n"))
    part = paragone("doctor").stdout.decode().partition("\nEndpoints\n")[2].partition("\n\n")[0].splitlines()
    assert part[0] == f"  ✓ ollama at {server.url}, for far, lost, wide"
    assert {"      server: Ollama 0.13.5", "      models: m:latest"} <= {*part}
    assert f"      ✗ lost: The server at {server.url} has no model 'nn'." in "\n".join(part)
    assert "  ✗ openai at http://127.0.0.1:1, for gone" in part


def test_an_engine_whose_model_is_not_on_its_server_is_not_usable(lost, server):
    done = paragone("engines", "--json")
    assert done.returncode == 0
    usable = {it["engine"]: it["usable"] for it in data("engines list", done)["engines"]}
    assert usable == {"far": True, "wide": True, "gone": False, "lost": False}
    reasons = {it["engine"]: f"{it['reason']} {it['remedy']}" for it in data("engines list", done)["engines"]}
    assert reasons["lost"] == (
        f"The server at {server.url} has no model 'nn'. The server has: m:latest. "
        "To download it to the server: paragone engines pull lost"
    )
    assert "the connection was refused" in reasons["gone"]


def test_models_of_the_engines_servers_are_listed(engines, server):
    done = paragone("engines", "models", "ollama", "--json")
    assert (done.returncode, said(done)) == (0, "")
    (model,) = [it for it in data("engines models", done)["models"] if it["url"] is not None]
    assert (model["backend"], model["model"], model["url"]) == ("ollama", "m:latest", server.url)
    assert (model["quantization"], model["context"]) == ("Q4_1", 4096)
    assert model["capabilities"] == ["completion"]
    lines = paragone("engines", "models", "ollama").stdout.decode().splitlines()
    assert sum(line.endswith(f" ollama:m:latest@{server.url}") for line in lines) == 1


PLUGIN = """
from dataclasses import dataclass
from paragone import option
from paragone.hooks import hookimpl
from paragone_remote.backend import OllamaBackend
from paragone_remote.options import OllamaLoadOptions

@dataclass(frozen=True, slots=True, kw_only=True)
class Options(OllamaLoadOptions):
    url: str | None = option({url!r}, "Where the server is.", address=True)

class Here(OllamaBackend):
    name = "here"
    title = "Here"
    api_version = 2
    load_options = Options

    async def endpoint(self, options):
        return await super().endpoint({{"url": {url!r}, **options}})

    async def models(self, folders):
        return (await self.endpoint({{}})).models

@hookimpl
def paragone_backends():
    return [Here()]
"""


@pytest.fixture
def usual(tmp_path, monkeypatch, server):
    """A plugin that stands in for Ollama's, whose usual port a real server may have: it asks the double instead."""
    install(tmp_path / "more", "here", PLUGIN.format(url=server.url))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"), prepend=":")


def test_models_of_the_usual_server_are_listed_once(usual, settings, server):
    table = "[engines.{}]\nbackend = 'here'\nmodel = 'm'\n{}\n"
    urls = {"a": "", "b": f"url = '{server.url}'", "c": f"url = 'http://localhost:{server.port}/'"}
    settings("".join(table.format(name, url) for name, url in urls.items()))
    done = paragone("engines", "models", "here", "--json")
    assert (done.returncode, said(done)) == (0, "")
    assert [(it["model"], it["url"]) for it in data("engines models", done)["models"]] == [("m:latest", None)]
    _, line = paragone("engines", "models", "here").stdout.decode().splitlines()
    assert line.endswith(" here:m:latest")


def test_models_of_a_server_in_two_spellings_are_listed_once(settings, server):
    """Even where a key has it list more."""

    async def tags(exchange):
        names = ["m:latest", "secret:latest"] if "authorization" in exchange.request.headers else ["m:latest"]
        await exchange.refuse(200, {"models": [{"model": name, "size": 9} for name in names]})

    server.replies["/api/tags"] = tags
    table = "[engines.{}]\nbackend = 'ollama'\nmodel = 'm'\nurl = '{}'\n"
    other = table.format("b", f"http://localhost:{server.port}/")
    settings(table.format("a", server.url) + other + "key_command = 'echo sk-secret'\n").chmod(0o600)
    done = paragone("engines", "models", "ollama", "--json")
    assert (done.returncode, said(done)) == (0, "")
    found = [it for it in data("engines models", done)["models"] if it["url"] is not None]
    assert sorted(it["model"] for it in found) == ["m:latest", "secret:latest"]


def test_a_server_that_does_not_answer_is_reported(engines, server):
    done = paragone("engines", "models", "--json")
    assert done.returncode == 1
    assert "The server of gone lists no models. Nothing answers at http://127.0.0.1:1" in said(done)
    found = data("engines models", done)
    assert server.url in {model["url"] for model in found["models"]}
    assert [problem["backend"] for problem in found["problems"]] == ["openai"]


def test_a_config_file_that_other_users_can_read_causes_a_warning(settings):
    """On standard error: the warnings in the JSON of a lane are about its engine and its answer."""
    text = "[engines.far]\nbackend = 'ollama'\nmodel = 'm'\nkey_command = 'echo sk-secret'\n"
    path = settings(f"{text}[engines.near]\nbackend = 'rogue'\nmodel = 'steady'\nmax_tokens = 1\n")
    path.chmod(0o644)
    done = paragone("config", "check")
    assert done.returncode == 0
    assert said(done).startswith(f"paragone: warning: {path} sets key_command, and its mode 644")
    assert f"chmod 600 {path}" in said(done)
    (warning,) = data("config check", paragone("config", "check", "--json"))["warnings"]
    assert f"chmod 600 {path}" in warning
    assert f"  ! {warning}" in paragone("doctor").stdout.decode().splitlines()
    for name, argv in (("compare", "near near --prompt hi"), ("engines models", "rogue")):
        done = paragone(*name.split(), *argv.split(), "--json")
        assert said(done).count(f"paragone: warning: {path} sets key_command") == 1
        assert b"chmod" not in done.stdout
        assert b"sk-secret" not in done.stdout + done.stderr
        data(name, done)
    path.chmod(0o600)
    assert said(paragone("config", "check")) == ""
