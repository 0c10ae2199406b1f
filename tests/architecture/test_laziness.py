"""Which modules are imported when, according to `sys.modules` of a separate interpreter."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import paragone

ROOT = Path(__file__).parents[2]
BACKENDS = sorted(init.parent.name for init in (ROOT / "backends").glob("*/__init__.py"))
ENGINES = {
    "llama_cpp",
    "torch",
    "exllamav2",
    "exllamav3",
    "httpx",
    "httpx_sse",
    "numpy",
    "jinja2",
    "genai_prices",
    "pypdf",
    "starlette",
    "uvicorn",
    "prometheus_client",
}
"""Dependencies of the extras: they are imported only when they are used."""


def modules_after(program: str, *options: str) -> set[str]:
    """Run a program and return the modules that it imported, without those that the interpreter imports itself."""
    folders = [str(ROOT / folder) for folder in ("plugins", "backends")]
    script = f"""
import sys
before = set(sys.modules)
sys.path[:0] = {folders!r}
{program}
print("\\n".join(set(sys.modules) - before))
"""
    command = [sys.executable, *options, "-c", script]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def modules_of_a_bare_interpreter_after(program: str) -> set[str]:
    """The same without installed packages: besides ours, only the standard library can be imported."""
    return modules_after(program, "-I", "-S")


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_interface_imports_only_a_small_part_of_the_standard_library():
    modules = modules_of_a_bare_interpreter_after("import paragone")
    assert packages(modules) <= sys.stdlib_module_names | {"paragone"}
    heavy = {
        "asyncio",
        "importlib.metadata",
        "json",
        "logging",
        "pathlib",
        "socket",
        "subprocess",
        "tempfile",
    }
    assert not modules & heavy
    assert not modules & {"paragone.hooks", "paragone.discovery", "paragone.testing", "paragone.worker"}


def test_a_worker_imports_only_the_standard_library():
    program = "import paragone.worker.serve\nfrom paragone import Probe"  # which every engine returns
    modules = modules_of_a_bare_interpreter_after(program)
    assert packages(modules) <= sys.stdlib_module_names | {"paragone"}
    heavy = {"asyncio", "importlib.metadata", "logging", "pathlib", "subprocess", "tempfile", "traceback"}
    assert not modules & {*heavy, "paragone.worker.native", "paragone.worker.client"}


def test_the_packages_of_backends_can_be_imported_by_a_bare_interpreter():
    """A worker imports one in an interpreter with nothing but the engine's library, so none must import its hook."""
    modules = modules_of_a_bare_interpreter_after(f"import {', '.join(BACKENDS)}")
    assert packages(modules) <= sys.stdlib_module_names | {"paragone", *BACKENDS}


def test_finding_and_describing_all_plugins_imports_no_library():
    program = """
from paragone.discovery import discover, discover_assertions
from paragone.options import describe
assert discover_assertions().assertions
for backend in discover().backends.values():
    describe(backend.load_options), describe(backend.sampling)
"""
    modules = packages(modules_after(program))
    assert {*BACKENDS, "paragone_assertions"} <= modules
    assert not modules & {*ENGINES, "jsonschema", "pytest"}


def test_the_first_screen_needs_no_runs_and_no_plugins():
    """What it imports, users wait for. The rest is imported after the first paint, in a thread."""
    modules = modules_after(
        "import paragone_cli.command_line.context, paragone_cli.screens, paragone_tui.app"
    )
    plugins = {"paragone.discovery", "pluggy", "importlib.metadata"}
    runs = {"paragone.backend", "paragone_workbench.runs.run", "paragone_workbench.runs.result"}
    executing = {"paragone_workbench.runs.execute", "paragone_workbench.compare.diff"}
    assert not modules & {*plugins, *runs, *executing, "sqlite3", "markdown_it"}
    assert not packages(modules) & ENGINES
    # imported in a thread, while the user types the first prompt
    later = modules_after("import paragone_tui.app; paragone_tui.app.import_for_answers()")
    assert {"paragone_workbench.runs.execute", "markdown_it", "pygments"} <= later


def test_the_help_of_a_command_needs_no_library():
    modules = modules_after(
        "from paragone_cli.commands import COMMANDS, help_of; list(map(help_of, ['', *COMMANDS]))"
    )
    commands = ("asking", "catalog", "history", "screens", "suite")
    assert not modules & {f"paragone_cli.{name}" for name in commands}
    assert not packages(modules) & {*ENGINES, "scipy", "plotext", "textual", "rich", "sqlite3"}


def public_names(module):
    """Return what a type checker imports by `from … import *`: `__all__`, or what the module itself defines."""
    for statement in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
        target = getattr(statement, "target", None) or (getattr(statement, "targets", None) or [statement])[0]
        name = getattr(target, "id", None) or getattr(target, "name", "_")
        if not name.startswith("_") and name in getattr(module, "__all__", [name]):
            yield name


def test_every_name_of_the_interface_is_declared_for_type_checkers():
    source = ast.parse(Path(paragone.__file__).read_text(encoding="utf-8"))
    imported = {
        name: node.module
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("paragone.")
        for alias in node.names
        for name in (
            public_names(importlib.import_module(node.module)) if alias.name == "*" else [alias.asname]
        )
    }
    assert imported == {name: f"paragone.{module}" for name, module in vars(paragone)["_MODULES"].items()}
    for name in paragone.__all__:
        assert getattr(paragone, name) is not None
