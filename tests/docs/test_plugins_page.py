"""docs/plugins.md: its plugins are built from the page, discovered, and tested with the conformance suite."""

import dataclasses
import inspect
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import get_args

import pytest

import paragone
from paragone import Capabilities, assertions
from paragone.events import Event
from paragone.testing import BackendConformance

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text()
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))

PATIENT = """
from paragone.testing import BackendConformance

BackendConformance.grace = 60.0  # stopping takes longer while all cores are busy
"""

LINES_TEST = '''
"""The lines backend against its imaginary server: a double that answers with numbers, one a line."""
import asyncio
import itertools
import json

import pytest
import pytest_asyncio

from paragone import OpenRequest
from paragone.testing import BackendConformance
from paragone_lines.backend import LinesBackend

async def answer(reader, writer):
    try:
        question = json.loads(await reader.readline())
        if "list" in question:
            writer.write(b"numbers letters\\n")
        else:
            for number in itertools.count():
                writer.write(b"%d\\n" % number)
                await writer.drain()
                await asyncio.sleep(0.001)
    except ConnectionError:
        pass  # the client has had enough
    finally:
        writer.close()

class TestLines(BackendConformance):
    @pytest_asyncio.fixture(loop_scope="class", scope="class")
    @classmethod
    async def port(cls):
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()

    @pytest.fixture
    def backend(self):
        return LinesBackend()

    @pytest.fixture
    def opening(self, port):
        return OpenRequest(model="numbers", options={"url": f"lines://127.0.0.1:{port}"})
'''


STARLING_PLUGIN = """
from paragone import Capabilities, ModelInfo
from paragone.hooks import hookimpl
from paragone.worker import NativeBackend
from paragone_starling.options import StarlingLoad, StarlingSampling

class StarlingBackend(NativeBackend):
    name = "starling"
    title = "Starling"
    api_version = 2
    load_options = StarlingLoad
    sampling = StarlingSampling
    {capabilities}
    engine = "paragone_starling.engine:StarlingEngine"

    def find_models(self, folders):
        found = (path for folder in folders for path in Path(folder).rglob("*.starling"))
        return [ModelInfo(model=str(path), name=path.stem) for path in sorted(found)]

@hookimpl
def paragone_backends():
    return [StarlingBackend()]
"""

STARLING_TEST = """
import pytest

from paragone import OpenRequest
from paragone.testing import BackendConformance
from paragone_starling.plugin import StarlingBackend

class TestStarling(BackendConformance):
    @pytest.fixture
    def backend(self):
        return StarlingBackend()

    @pytest.fixture
    def opening(self, tmp_path):
        model = tmp_path / "sturnus.starling"
        model.write_text("the bird in the hand heard the other birds that sang in the bush there")
        return OpenRequest(model=str(model))

    @pytest.fixture
    def long_sampling(self):
        return {"max_tokens": 30_000}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the files of the page, installed as a package manager would install them."""
    site = tmp_path_factory.mktemp("site")
    capabilities = re.search(r"^`(capabilities = .*)`\.$", PAGE, re.MULTILINE)
    assert capabilities, "what starling can do is not on the page"
    ours = {
        "paragone_lines/__init__.py": "",
        "paragone_starling/__init__.py": "",
        "paragone_rhyme/__init__.py": "",
        "paragone_starling/plugin.py": "from pathlib import Path\n"
        + STARLING_PLUGIN.format(capabilities=capabilities[1]),
        "tests/test_lines.py": LINES_TEST,
        "tests/test_starling.py": STARLING_TEST,
        "tests/conftest.py": PATIENT,
        "starling.py": (Path(__file__).parent / "starling.py").read_text(),
    }
    for name, text in {**FILES, **ours}.items():
        path = site / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    install(site, project["name"], project["entry-points"]["paragone"])
    install(site, "paragone-lines", {"lines": "paragone_lines.plugin"})
    install(site, "paragone-starling", {"starling": "paragone_starling.plugin"})
    (rhyme,) = re.findall(
        r'```toml\n(\[project\.entry-points\."paragone\.assertions"\]\n.*?)```', PAGE, re.DOTALL
    )
    points = tomllib.loads(rhyme)["project"]["entry-points"]
    install(site, "paragone-rhyme", points["paragone.assertions"], "paragone.assertions")
    return site


def install(site: Path, name: str, plugins: dict[str, str], group: str = "paragone") -> None:
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = "".join(f"{plugin} = {module}\n" for plugin, module in plugins.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}")


def run(site: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=site, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


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
        "True YES says YES.",
        "None MAYBE answered neither YES nor NO.",
        "None The assertion 'rhymes' has no 'word'. Give it one.",
    ]


@pytest.mark.slow
def test_the_example_plugins_pass_the_conformance_suite(site):
    needed = ("--disable-plugin-autoload", "-p", "asyncio", "-p", "no:cacheprovider", "-W", "error")
    passed = re.findall(
        r"tests/test_(\w+)\.py::\S+ PASSED", run(site, "-m", "pytest", "-v", *needed, "tests")
    )
    assert min(passed.count(plugin) for plugin in ("parrot", "starling", "lines")) > 30


@pytest.mark.thorough
def test_the_example_parrot_runs_in_a_bare_interpreter(site, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    program = """
import asyncio, sys
from paragone_parrot.plugin import ParrotBackend
print(asyncio.run(ParrotBackend().probe(sys.argv[1])))
"""
    assert run(site, "look.py") == "parrot\n"
    out = run(site, "-c", program, str(tmp_path / "bare" / "bin" / "python"))
    assert out.startswith("Probe(usable=True")


PACKAGES = ("paragone_parrot", "paragone_starling.engine", "paragone_lines", "paragone_rhyme")


@pytest.fixture(scope="module")
def type_check(site) -> subprocess.CompletedProcess[str]:
    """A strict check of all packages together. What mypy found out about the interface that they use is kept."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(ROOT / ".mypy_cache" / "plugins_page"),
    ]
    for package in PACKAGES:
        command += ["-p", package]
    return subprocess.run(
        command, cwd=site, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_the_examples_pass_a_strict_type_check(type_check, package):
    """Authors copy this code, so its types must be right."""
    path = package.replace(".", "/")
    found = [line for line in type_check.stdout.splitlines() if line.startswith(path)]
    assert not found, "\n".join(found)
    assert type_check.returncode == 0, type_check.stdout + type_check.stderr


def test_the_whole_interface_is_on_the_page():
    """Everything that an author needs is on the page; new names in the interface make this test fail."""
    errors = [name for name in paragone.__all__ if name.endswith("Error")] + [
        "ContextOverflow",
        "EngineCrashed",
    ]
    events = [kind.__name__ for kind in get_args(Event)]
    capabilities = [field.name for field in dataclasses.fields(Capabilities)]
    suite = ["backend", "opening", "sampling", "long_sampling", "patience", "grace"]
    assert set(suite) <= set(dir(BackendConformance))
    for name in (*errors, *events, *capabilities, *suite):
        assert f"`{name}`" in PAGE, f"{name} is not on the page"


def test_the_interface_of_assertions_is_on_the_page():
    text = section("Write an assertion")
    methods = [name for name in vars(assertions.Assertion) if not name.startswith("_")]
    for name in (*assertions.__all__, *methods):
        assert re.search(rf"\b{name}\b", text), f"{name} is not on the page"


def test_every_caution_code_is_in_the_table():
    sources = [
        path for folder in ("backends", "workbench", "plugins") for path in (ROOT / folder).rglob("*.py")
    ]
    used = {code for path in sources for code in re.findall(r'Caution\(\s*code="([\w-]+)"', path.read_text())}
    listed = re.findall(r"^\| `([\w-]+)` \|", section("Cautions"), re.MULTILINE)
    assert set(listed) == used
    assert len(listed) == len(used)


def test_every_argument_of_an_option_is_explained():
    for name in list(inspect.signature(paragone.option).parameters)[2:]:
        assert re.search(rf"^\| .*`{name}\b.* \|", section("Options"), re.MULTILINE), (
            f"{name} is not explained"
        )


def section(title: str) -> str:
    """Return the text of a section of the page."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
