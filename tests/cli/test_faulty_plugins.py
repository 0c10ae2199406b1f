"""Plugins of strangers that are broken, and what the commands that list plugins say of them."""

import signal

import pytest
from tests.strangers import with_models, with_native_models

from .conftest import data, paragone, running, said, until


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            with_models("return [7]"),
            "breaks the plugin interface: a ModelInfo was expected, not a value of the type int.",
        ),
        (with_models("raise KeyboardInterrupt"), "raised an unexpected error (KeyboardInterrupt)."),
        (with_native_models("raise SystemExit(3)"), "raised an unexpected error (SystemExit: 3)."),
    ],
    ids=["wrong types", "interrupts", "exits"],
)
def test_models_that_are_none_are_a_problem_of_their_backend(stranger, code, reason):
    stranger(code)
    done = paragone("models", "stranger", "--json")
    (problem,) = data("models", done)["problems"]
    assert problem["backend"] == "stranger"
    assert f"The backend stranger {reason}" in problem["error"]
    assert reason in said(done)
    assert done.returncode == 1


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit"])
def test_a_plugin_that_interrupts_its_import_is_listed_as_broken(stranger, raised):
    stranger(f"raise {raised}")
    done = paragone("doctor")
    assert done.returncode == 0
    assert f"✗ stranger of stranger-of-a-stranger: {raised}\n" in done.stdout.decode()
    assert f"The plugin stranger of stranger-of-a-stranger cannot be used: {raised}." in said(
        paragone("models", "stranger")
    )


def test_an_interrupt_is_not_taken_for_a_plugin_s(stranger, tmp_path):
    stranger(f"import time; open({str(tmp_path / 'called')!r}, 'w').close(); time.sleep(3600)")
    with running("models") as process:
        until((tmp_path / "called").exists, "it is imported")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT
