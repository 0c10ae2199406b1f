"""Discovery of plugins with assertions: well-behaved and broken ones, each installed like a third-party package."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from paragone.assertions import Assertion
from paragone.discovery import PluginProblem, discover, discover_assertions

ROOT = Path(__file__).parents[2]
DOUBLE = (ROOT / "tests" / "doubles" / "polite_assertions.py").read_text()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a distribution with one plugin of this source."""
    monkeypatch.syspath_prepend(str(tmp_path))
    installed: list[str] = []

    def make(plugin: str, source: str, *, group: str = "paragone.assertions") -> None:
        module = f"{plugin}_module"
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{plugin}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {plugin}_package\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{plugin} = {module}\n")
        installed.append(module)

    yield make
    for module in installed:
        sys.modules.pop(module, None)


def problem_of(plugin: str) -> PluginProblem:
    """The one problem reported for a plugin. The other plugins must be found all the same."""
    found = discover_assertions()
    assert "equals" in found.assertions
    (problem,) = (problem for problem in found.problems if problem.plugin == plugin)
    return problem


def test_our_assertions_are_found_like_third_party_ones():
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert "paragone_assertions.plugin" in ours["paragone.assertions"].values()
    found = discover_assertions()
    assert not found.problems
    assert all(isinstance(assertion, Assertion) for assertion in found.assertions.values())
    assert all(name == assertion.name for name, assertion in found.assertions.items())
    assert "equals" in found.assertions


def test_a_plugin_is_found(install):
    install("polite", DOUBLE)
    found = discover_assertions()
    assert type(found.assertions["rhymes"]).__module__ == "polite_module"
    assert not found.problems


def test_a_plugin_with_backends_and_assertions(install):
    """One module may implement both hooks; each group asks for its own."""
    install("polite", DOUBLE)
    install(
        "both", DOUBLE.replace('"rhymes"', '"also"') + "\n@hookimpl\ndef paragone_backends(): return []\n"
    )
    assert {"rhymes", "also"} <= set(discover_assertions().assertions)
    assert "both" not in {problem.plugin for problem in discover().problems}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("import annotations", "import annotations\nimport nothing", "No module named 'nothing'"),
        ("import annotations", "import annotations\nraise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import annotations", "import annotations\nraise SystemExit(3)", "SystemExit: 3"),
        ("return [Rhymes()]", "return [1 / 0]", "ZeroDivisionError: division by zero"),
        ("return [Rhymes()]", "return [Rhymes]", "is not a paragone.assertions.Assertion"),
        ("return [Rhymes()]", "return ['rhymes']", "'rhymes' is not a paragone.assertions.Assertion"),
        ("return [Rhymes()]", "return []", "it has no assertion; is its hook marked with"),
        ("@hookimpl", "", "it has no assertion; is its hook marked with paragone.hooks.hookimpl?"),
        ("def paragone_assertions", "def paragone_asertions", "it implements a hook that does not exist"),
        ("async def check", "async def chek", "Can't instantiate abstract class Rhymes"),
        ('"rhymes"', '"no name"', "'no name' is not a valid assertion name"),
        ('"rhymes"', '"equals"', "paragone has the assertion 'equals' itself"),
        ('"The answer ends like a word."', "None", "the summary of its assertion 'rhymes' is not a str"),
        ("options = RhymeOptions", "options = dict", "the options of its assertion 'rhymes' is not a class"),
        ("    word: str =", "    type: str =", "has an option named 'type', which suites use themselves"),
        ('option("", "The word. Required.")', '""', "the option 'word' of its assertion 'rhymes' is not"),
    ],
)
def test_a_plugin_that_is_broken(install, before, after, reason):
    assert before in DOUBLE
    install("standards_last", DOUBLE.replace(before, after, 1))  # after `standard`, which keeps its names
    problem = problem_of("standards_last")
    assert problem.package == "standards_last_package"
    assert reason in problem.reason
