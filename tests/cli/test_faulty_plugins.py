"""Plugins of strangers that are broken, and what the commands that list plugins say of them."""

import signal

import pytest
from tests.strangers import install, with_models, with_native_models

from .conftest import data, paragone, running, said, until


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            with_models("return [7]"),
            "breaks the plugin interface: a ModelInfo was expected, not a value of the type int.",
        ),
        (with_native_models("raise SystemExit(3)"), "raised an unexpected error (SystemExit: 3)."),
    ],
    ids=["wrong types", "exits"],
)
def test_invalid_models_are_reported_as_a_problem_of_their_backend(stranger, code, reason):
    stranger(code)
    done = paragone("engines", "models", "stranger", "--json")
    (problem,) = data("engines models", done)["problems"]
    assert problem["backend"] == "stranger"
    assert f"The backend stranger {reason}" in problem["error"]
    assert reason in said(done)
    assert done.returncode == 1


@pytest.fixture
def strangers(stranger, tmp_path):
    """Installs several plugins, whose code is given by their names."""

    def make(**codes):
        stranger(codes.pop("stranger"))
        for name, code in codes.items():
            install(tmp_path / "site", name, code)

    return make


def test_plugins_that_interrupt_their_import_are_listed_as_broken(strangers):
    strangers(stranger="raise KeyboardInterrupt", other="raise SystemExit", third="import os; os._exit(0)")
    done = paragone("doctor")
    assert done.returncode == 0
    for name, raised in (
        ("stranger", "KeyboardInterrupt"),
        ("other", "SystemExit"),
        ("third", "its import ends the process, with exit code 0"),
    ):
        assert f"✗ {name} of {name}-of-a-stranger: {raised}\n" in done.stdout.decode()
        assert f"The plugin {name} of {name}-of-a-stranger cannot be used: {raised}." in said(
            paragone("engines", "models", name)
        )


def test_ctrl_c_during_an_import_is_not_blamed_on_the_plugin(stranger, tmp_path):
    stranger(f"import time; open({str(tmp_path / 'called')!r}, 'w').close(); time.sleep(3600)")
    with running("engines", "models") as process:
        until((tmp_path / "called").exists, "it is imported")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT


def test_output_of_a_plugin_does_not_reach_standard_output(stranger):
    """Neither from Python, nor from C or a program that it starts, while it is imported or asked."""
    loud = "import os; print('loud'); os.write(1, b'loud'); os.system('echo loud')\n"
    stranger(loud + with_models("print('loud'); return [ModelInfo(model='m', name='m')]"))
    done = paragone("engines", "models", "stranger", "--json")
    assert [model["name"] for model in data("engines models", done)["models"]] == ["m"]
    assert said(done).count("loud") == 4


def test_a_plugin_with_a_built_in_name_and_one_with_an_invalid_number_are_reported(strangers):
    code = with_models("return []")
    numbers = code.replace("Probe(usable=True)", "Probe(usable=True, facts={'speed': float('nan')})")
    strangers(stranger=numbers, other=code.replace('name = "stranger"', 'name = "llama_cpp"'))
    done = paragone("doctor", "--json")
    found = data("doctor", done)
    backends = {backend["backend"]: backend for backend in found["backends"]}
    assert backends["llama_cpp"]["title"] == "llama.cpp"
    assert [(broken["plugin"], broken["reason"]) for broken in found["broken_plugins"]] == [
        ("other", "paragone has the backend 'llama_cpp' itself")
    ]
    assert b"NaN" not in done.stdout
    assert backends["stranger"]["reason"] == (
        "The backend stranger breaks the plugin interface: Probe.facts.speed is nan."
    )
