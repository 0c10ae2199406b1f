"""docs/plugins.md has the code of the examples, which are installed from their pyproject.toml and tested by the conformance suite."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import get_args

import pytest
from docs.reference import plugins
from hatchling.builders.wheel import WheelBuilder

import paragone
from paragone import Capabilities, assertions, facts
from paragone.events import Event

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
REFERENCE = plugins.page()
EXAMPLES = [file.parent for file in sorted((ROOT / "examples").glob("*/pyproject.toml"))]
NAMES = [folder.name for folder in EXAMPLES]

PATIENT = """
from paragone.testing import BackendConformance

BackendConformance.grace = 60.0  # stopping takes longer while all cores are busy
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder in which the examples are installed, with their tests."""
    site = tmp_path_factory.mktemp("site")
    for folder in EXAMPLES:
        (wheel,) = WheelBuilder(str(folder)).build(directory=str(site), versions=["standard"])
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(site)
        for test in folder.glob("test_*.py"):
            shutil.copy(test, site)
    (site / "conftest.py").write_text(PATIENT)
    return site


def run(site: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=site, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_code_on_the_page_is_the_code_of_the_examples():
    shown = re.findall(r"^`(examples/[\w./]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert {Path(name).parts[1] for name, _ in shown} == {*NAMES} - {"starling"}
    for name, code in shown:
        assert (ROOT / name).read_text(encoding="utf-8") == code, name


def test_every_excerpt_is_code_of_an_example():
    """A block of Python without a name is an excerpt: each of its lines stands in an example, but for comments."""
    sources = "".join(
        file.read_text(encoding="utf-8") for folder in EXAMPLES for file in folder.rglob("*.py")
    )
    lines = {line.strip() for line in sources.splitlines()}
    blocks = re.findall(r"(?<!`:\n\n)^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in "".join(blocks).splitlines():
        assert line.strip() in lines or line.strip().startswith("#"), line


def test_the_readme_of_the_examples_lists_all():
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "examples" / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == NAMES


RHYMING = """
import asyncio
from paragone.assertions import Answer
from paragone_workbench.experiments.assertions import evaluate, load_assertions
from paragone_workbench.experiments.suite import AssertionSpec, SuitePrompt

class Echo:
    async def ask(self, engine, messages):
        return engine

catalog = load_assertions()
options = [{"word": "cat"}, {"word": "dog"}, {"word": "cat", "engine": "YES"}, {"word": "cat", "engine": "MAYBE"}, {}]
specs = tuple(AssertionSpec(type="rhymes", options=each) for each in options)
prompt = SuitePrompt(index=0, line=1, messages=(), assertions=specs)
for result in asyncio.run(evaluate(prompt, Answer(text="A hat."), catalog, Echo())):
    print(result.passed, result.reason)
"""


@pytest.mark.thorough
def test_the_example_assertion_checks_answers(site):
    assert run(site, "-c", RHYMING).splitlines() == [
        "True The answer ends in 'at'.",
        "False The answer ends in 'at'.",
        "True YES answers YES.",
        "None MAYBE answered neither YES nor NO.",
        "None The assertion 'rhymes' has no 'word'. Give it one.",
    ]


@pytest.mark.slow
def test_the_example_plugins_pass_the_conformance_suite(site):
    needed = ("--disable-plugin-autoload", "-p", "asyncio", "-p", "no:cacheprovider", "-W", "error")
    passed = re.findall(
        r"^test_(\w+)\.py::\S+ PASSED", run(site, "-m", "pytest", "-v", *needed), re.MULTILINE
    )
    assert {name: passed.count(name) > 30 for name in NAMES} == {name: name != "rhyme" for name in NAMES}


BARE = """
import asyncio, sys
from paragone.discovery import discover

found = discover()
assert not found.problems, found.problems
print(asyncio.run(found.backends["parrot"].probe(sys.argv[1])), *{*found.backends} & {"chat", "starling"})
"""


@pytest.mark.thorough
def test_the_example_parrot_runs_in_a_bare_interpreter(site, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    out = run(site, "-c", BARE, str(tmp_path / "bare" / "bin" / "python"))
    assert out.startswith("Probe(usable=True")
    assert "chat" in out
    assert "starling" in out


def test_the_whole_interface_is_in_the_reference():
    """New names in the interface make this test fail."""
    functions = {"option", "fingerprint"}
    aliases = {"API_VERSION", "Channel", "FinishReason", "Json", "OnProgress", "Report", "Role", "Event"}
    headings = set(re.findall(r"^### (?:\w+\.)*(\w+)$", REFERENCE, re.MULTILINE))
    missing = {*paragone.__all__, *assertions.__all__} - headings - functions - aliases - {"AnyAssertion"}
    assert not missing
    assert {kind.__name__ for kind in get_args(Event)} <= headings
    for field in dataclasses.fields(Capabilities):
        assert f"| `{field.name}: bool" in REFERENCE


def test_every_caution_code_is_in_the_table():
    sources = [
        path for folder in ("backends", "workbench", "plugins") for path in (ROOT / folder).rglob("*.py")
    ]
    used = {code for path in sources for code in re.findall(r'Caution\(\s*code="([\w-]+)"', path.read_text())}
    listed = re.findall(r"^\| `([\w-]+)` \|", plugins.CAUTIONS, re.MULTILINE)
    assert set(listed) == used
    assert len(listed) == len(used)


def test_every_standard_fact_is_in_the_table():
    listed = [
        name
        for names in re.findall(r"^\| (`.*?`) \|", plugins.FACTS, re.MULTILINE)
        for name in re.findall("`(.*?)`", names)
    ]
    known = (*facts.STANDARD_FACTS, facts.PROGRAM, facts.ORIGIN, *facts.BUILD_FACTS, facts.LAUNCH)
    assert sorted(listed) == sorted(fact.name for fact in known)


def test_the_examples_depend_on_this_distribution():
    name = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    for folder in EXAMPLES:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert name in project["dependencies"], folder
