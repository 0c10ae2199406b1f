import pytest
from tests.strangers import install

from .conftest import data, paragone, said

LOCAL = "[lane]\n[engines.here]\nbackend = 'rogue'\nmodel = 'steady'\napi_key = 'sk-secret'\n"
"""Settings with a mistake, and with an engine that needs no server, which has no such option."""


def test_doctor_reports_the_machine_and_backends_as_json(settings):
    path = settings(LOCAL)
    done = paragone("doctor", "--json")
    assert (done.returncode, said(done)) == (0, "")
    found = data("doctor", done)
    backends = {backend["backend"]: backend for backend in found["backends"]}
    assert backends["rogue"]["usable"] is True
    assert found["endpoints"] == []
    assert found["config"]["exists"] is True
    assert found["config"]["problems"][0]["file"] == str(path)
    assert b"sk-secret" not in done.stdout


@pytest.mark.model
def test_doctor_prints_the_machine_and_backends(settings, tmp_path, monkeypatch):
    install(tmp_path / "more", "broken", "", brokenplugin="sys:nothing")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"), prepend=":")
    path = settings(LOCAL)
    done = paragone("doctor")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert lines[0].startswith("paragone ")
    assert "  ✓ rogue: Rogue" in lines
    assert "  ✓ llama_cpp: llama.cpp" in lines
    assert f"  ✗ {path}:1: There is no section [lane]. Did you mean 'lanes'?" in lines
    assert "at http" not in done.stdout.decode()
    assert "✗ brokenplugin of broken-of-a-stranger: AttributeError" in done.stdout.decode()
    settings("")
    done = paragone("ask", "brokenplugin:model", "hi")
    assert done.returncode == 2
    assert "The plugin brokenplugin of broken-of-a-stranger cannot be used" in said(done)


def test_doctor_describes_one_backend():
    for argv, message in (
        (["rouge"], "There is no backend 'rouge'.\nDid you mean 'rogue'?"),
        (["rogue", "--json"], "describes all backends"),
    ):
        done = paragone("doctor", *argv)
        assert (done.returncode, done.stdout) == (2, b"")
        assert message in said(done)
    done = paragone("doctor", "rogue")
    assert (done.returncode, done.stdout.decode(), said(done)) == (0, "✓ rogue: Rogue works\n", "")
    done = paragone("doctor", "exllamav3")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "ExLlamaV3" in said(done)
    assert "paragone env create exllamav3" in said(done)
