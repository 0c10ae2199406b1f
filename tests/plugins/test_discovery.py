"""Discovery of plugins, also of broken ones of every kind, each installed like a third-party package."""

import shutil
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from paragone import Backend, discovery
from paragone.assertions import Assertion
from paragone.discovery import PluginProblem, discover, discover_assertions

GOOD = """
from collections.abc import Iterable
from paragone import Backend
from paragone.hooks import hookimpl

class Found(Backend):
    name = "{name}"
    title = "Found"
    api_version = 2
    async def probe(self, python=None): ...
    async def models(self, folders): ...
    async def open(self, request, on_progress): ...

@hookimpl
def paragone_backends() -> Iterable[Backend]:
    return [Found()]
"""


class Site:
    """A folder of installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, plugin: str, source: str | None, *, package: str = "", group: str = "paragone") -> None:
        """Install a distribution with one module and one entry point; without a source the module is missing."""
        module = f"{package or plugin}_module"
        if source is not None:
            (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{package or plugin}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package or plugin}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{plugin} = {module}\n")

    def imported(self) -> set[str]:
        """The imported modules of this site."""
        return {path.stem for path in self.folder.glob("*.py")} & set(sys.modules)


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    site = Site(folder)
    yield site
    for module in site.imported():
        del sys.modules[module]


def problem_of(plugin: str) -> PluginProblem:
    """The one problem reported for a plugin. The other plugins must be found all the same."""
    found = discover()
    assert "rogue" in found.backends
    assert plugin not in found.backends
    (problem,) = (problem for problem in found.problems if problem.plugin == plugin)
    return problem


def test_a_plugin_is_found(site):
    site.install("found", GOOD.format(name="found"))
    found = discover()
    assert isinstance(found.backends["found"], Backend)
    assert not [problem for problem in found.problems if problem.plugin == "found"]


def test_a_single_plugin_is_loaded_by_its_name(site):
    site.install("found", GOOD.format(name="found"))
    site.install("other", "raise RuntimeError('nobody asked for this one')")
    found = discover("found")
    assert set(found.backends) == {"found"}
    assert found.problems == ()
    assert site.imported() == {"found_module"}


def test_a_package_with_an_unreadable_description_is_skipped(site):
    site.install("found", GOOD.format(name="found"), package="unreadable")
    (site.folder / "unreadable-1.dist-info" / "METADATA").write_bytes(b"Name: unreadable\nAuthor: Jos\xe9\n")
    assert {"found", "rogue"} <= discover().backends.keys()
    assert "found" in discover("found").backends


HARMFUL = {
    "exits": ("import os; os._exit(0)", "its import ends the process, with exit code 0"),
    "aborts": ("import os; os.abort()", "its import ends the process, with exit code -6"),
    "panics": ("class Panic(BaseException): pass\nraise Panic('of Rust')", "Panic: of Rust"),
}


def test_plugins_that_end_the_process_are_detected_in_another_process(site, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # bytecode would change the folder
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    imports = tmp_path / "imports"
    note = f"with open({str(imports)!r}, 'a') as file: file.write('.')\n"
    site.install("good", note + GOOD.format(name="good"))
    for plugin, (source, _) in HARMFUL.items():
        site.install(plugin, source)
    for _ in range(2):
        found = discover()
        assert {"good", "rogue", "llama_cpp"} <= found.backends.keys()
        reasons = {problem.plugin: problem.reason for problem in found.problems}
        assert {it: reasons[it] for it in HARMFUL} == {it: reason for it, (_, reason) in HARMFUL.items()}
        assert imports.read_text() == ".."  # in the other process, and here
    shutil.rmtree(site.folder / "exits-1.dist-info")
    assert "good" in discover().backends
    assert imports.read_text() == "..."


def test_a_plugin_whose_import_never_ends_is_skipped(site, monkeypatch):
    monkeypatch.setitem(vars(discovery), "_PATIENCE", 0.01)
    site.install("blocks", "import time\nwhile True: time.sleep(600)")
    assert problem_of("blocks").reason == "its import takes longer than 0 seconds"


def changed(before: str, after: str, name: str = "bad") -> str:
    source = GOOD.format(name=name)
    assert before in source
    return source.replace(before, after)


OLD = (
    "its backend 'bad' was written for version {} of the plugin interface, and this paragone has version 2; update the "
    "older of the two"
)
BAD: dict[str, tuple[str | None, str]] = {
    "missing": (None, "ModuleNotFoundError: No module named 'missing_module'"),
    "raises": ("raise RuntimeError('CUDA is too old\\nand more')", "RuntimeError: CUDA is too old"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "misnamed": (
        changed("paragone_backends", "paragone_backend"),
        "it implements a hook that does not exist…",
    ),
    "unmarked": (
        changed("@hookimpl", ""),
        "it has no backend; is its hook marked with paragone.hooks.hookimpl?",
    ),
    "arguments": (
        changed("backends()", "backends(config)"),
        "PluginValidationError: Plugin 'arguments' for hook…",
    ),
    "abstract": (
        changed("    async def open(self, request, on_progress): ...\n", ""),
        "TypeError: Can't instantiate abstract class Found…",
    ),
    "divides": (changed("[Found()]", "1 / 0"), "ZeroDivisionError: division by zero"),
    "number": (changed("[Found()]", "7"), "TypeError: 'int' object is not iterable"),
    "text": (changed("[Found()]", "[Found(), 'bad']"), "'bad' is not a paragone.Backend"),
    "nameless": (GOOD.format(name=""), "'' is not a valid backend name; it must be a Python identifier"),
    "dashed": (GOOD.format(name="a-b"), "'a-b' is not a valid backend name; it must be a Python identifier"),
    "long": (GOOD.format(name="b" * 200), "a backend name has 200 characters"),
    "untitled": (changed('title = "Found"', "title = None"), "the title of its backend 'bad' is not a str"),
    "dictionary": (
        changed('title = "Found"', "load_options = {}"),
        "the load_options of its backend 'bad' is not a class of Options",
    ),
    "first_version": (changed("    api_version = 2\n", ""), OLD.format(1)),  # which declared none
    "next_version": (changed("api_version = 2", "api_version = 3"), OLD.format(3)),
}
"""Plugins that cannot be used, and why; an ellipsis stands for the rest of a reason."""


def test_plugins_that_cannot_be_used_are_named_with_the_reason(site):
    for plugin, (source, _) in BAD.items():
        site.install(plugin, source)
    found = discover()
    assert {"rogue", "llama_cpp"} <= found.backends.keys()
    assert not {"bad", *BAD} & found.backends.keys()
    problems = {problem.plugin: problem for problem in found.problems}
    for plugin, (_, reason) in BAD.items():
        problem = problems[plugin]
        shown = f"{problem.reason[: len(reason) - 1]}…" if reason.endswith("…") else problem.reason
        assert (problem.package, shown) == (plugin, reason)


def test_a_plugin_with_a_taken_name_is_refused(site):
    """The plugin whose entry point comes first in alphabetical order keeps the name; the other is reported."""
    site.install("first", GOOD.format(name="wanted"))
    site.install("second", GOOD.format(name="wanted"))
    found = discover()
    assert type(found.backends["wanted"]).__module__ == "first_module"
    (problem,) = (problem for problem in found.problems if problem.plugin == "second")
    assert problem.reason == "another plugin has the backend name 'wanted'"


def test_a_plugin_can_have_several_backends(site):
    two = GOOD.format(name="one").replace("[Found()]", "[Found(), Other()]")
    site.install("both", two + "\nclass Other(Found):\n    name = 'two'\n")
    assert set(discover("both").backends) == {"one", "two"}


@pytest.mark.parametrize("plugin", ["aaa", "llama_cpp"])
def test_built_in_backends_keep_their_names(site, plugin):
    """Also against a plugin that comes first in alphabetical order, or whose entry point has the same name."""
    site.install(plugin, GOOD.format(name="llama_cpp"), package="thief")
    assert type(discover().backends["llama_cpp"]).__module__ == "paragone_llama_cpp.backend"
    (problem,) = (problem for problem in discover().problems if problem.package == "thief")
    assert problem.message == (
        f"The plugin {plugin} of thief cannot be used: paragone has the backend 'llama_cpp' itself."
    )
    assert type(discover("llama_cpp").backends["llama_cpp"]).__module__ == "paragone_llama_cpp.backend"


def test_packages_are_read_once_until_one_is_installed_or_removed(site, monkeypatch):
    reads: list[str] = []

    def read():
        reads.append("read")
        return entry_points()

    monkeypatch.setitem(vars(discovery), "entry_points", read)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # bytecode would change the folder
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    site.install("first", GOOD.format(name="first"))
    assert "first" in discover("first").backends
    assert "first" in discover().backends
    assert len(reads) == 1
    site.install("second", GOOD.format(name="second"))
    assert "second" in discover().backends
    shutil.rmtree(site.folder / "second-1.dist-info")
    assert "second" not in discover().backends
    assert len(reads) == 3


# ── Assertions, with the same code ─────────────────────────────────────────────────────────────

ROOT = Path(__file__).parents[2]
RHYMES = (ROOT / "tests" / "doubles" / "polite_assertions.py").read_text()


def test_built_in_assertions_and_those_of_plugins_are_found(site):
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert "paragone_assertions.plugin" in ours["paragone.assertions"].values()
    source = RHYMES + "\n@hookimpl\ndef paragone_backends(): return []\n"
    site.install("polite", source, group="paragone.assertions")
    found = discover_assertions()
    assert not found.problems
    assert {"equals", "rhymes"} <= set(found.assertions)
    assert all(isinstance(assertion, Assertion) for assertion in found.assertions.values())
    assert all(name == assertion.name for name, assertion in found.assertions.items())
    assert type(found.assertions["rhymes"]).__module__ == "polite_module"
    assert "polite" not in {problem.plugin for problem in discover().problems}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("return [Rhymes()]", "return [Rhymes]", "is not a paragone.assertions.Assertion"),
        ('"rhymes"', '"equals"', "paragone has the assertion 'equals' itself"),
        ('"The answer ends like a word."', "None", "the summary of its assertion 'rhymes' is not a str"),
        ("options = RhymeOptions", "options = dict", "the options of its assertion 'rhymes' is not a class"),
        ("    word: str =", "    type: str =", "has an option named 'type', which suites use themselves"),
        ('option("", "The word. Required.")', '""', "the option 'word' of its assertion 'rhymes' is not"),
    ],
)
def test_a_broken_plugin_with_assertions_is_reported(site, before, after, reason):
    assert before in RHYMES
    # after `standard`, which keeps its names
    site.install("standards_last", RHYMES.replace(before, after, 1), group="paragone.assertions")
    found = discover_assertions()
    assert "equals" in found.assertions
    (problem,) = (problem for problem in found.problems if problem.plugin == "standards_last")
    assert problem.package == "standards_last"
    assert reason in problem.reason
