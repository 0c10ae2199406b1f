"""Backends looked up by name: strangers' plugins among them, some of them broken."""

import subprocess
import sys
from pathlib import Path

import pytest

from paragone import InputError
from paragone_workbench.engines.registry import Registry

BRINGS = """
from paragone.hooks import hookimpl
from rogue_backend.plugin import RogueBackend

class Other(RogueBackend):
    name = "{backend}"

@hookimpl
def paragone_backends():
    return [Other()]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch):
    """Return a function that installs a distribution with one plugin, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(plugin: str, code: str) -> None:
        info = tmp_path / f"stranger_{plugin}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stranger-{plugin}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[paragone]\n{plugin} = stranger_{plugin}\n")
        (tmp_path / f"stranger_{plugin}.py").write_text(code)

    return install


def test_a_backend_is_found_and_remembered():
    registry = Registry()
    rogue = registry.get("rogue")
    assert rogue.title == "Rogue"
    assert registry.find("rogue") is rogue
    assert registry.all()["rogue"] is rogue
    assert registry.get("rogue") is rogue


def test_looking_one_up_imports_no_other():
    code = (
        "import sys; from paragone_workbench.engines.registry import Registry; Registry().get('rogue');"
        "print([name for name in sys.modules if name.startswith('paragone_') and 'workbench' not in name])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_a_registry_costs_nothing_until_it_is_asked():
    code = (
        "import sys; from paragone_workbench.engines.registry import Registry; Registry();"
        "print('pluggy' in sys.modules, 'importlib.metadata' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False False\n"


def test_a_name_that_nobody_has():
    registry = Registry()
    assert registry.find("rouge") is None
    with pytest.raises(InputError, match=r"There is no backend 'rouge'\. Did you mean 'rogue'\?"):
        registry.get("rouge")
    with pytest.raises(InputError, match=r"There is no backend 'zzz'\. Known names: .*rogue"):
        registry.get("zzz")


def test_a_backend_need_not_be_called_as_its_plugin(install):
    install("bundle", BRINGS.format(backend="hidden"))
    assert Registry().get("hidden").name == "hidden"


def test_a_broken_plugin_is_told_of_by_name_and_stops_nothing(install):
    install("broken", "import surely_not_installed")
    install("fine", BRINGS.format(backend="fine"))
    registry = Registry()
    with pytest.raises(InputError) as caught:
        registry.get("broken")
    assert str(caught.value) == (
        "The plugin broken of stranger-broken cannot be used: "
        "ModuleNotFoundError: No module named 'surely_not_installed'. "
        "Repair or remove it; the other backends are not affected."
    )
    assert registry.get("fine").name == "fine"
    assert registry.get("rogue").name == "rogue"
    assert [problem.plugin for problem in registry.problems if problem.plugin == "broken"] == ["broken"]


def test_a_reason_that_is_a_sentence_keeps_its_one_full_stop(install):
    install("broken", "raise RuntimeError('This needs a GPU.')")
    with pytest.raises(InputError, match=r"RuntimeError: This needs a GPU\. Repair"):
        Registry().get("broken")
