"""Names that Textual and Rich do not document are used in few modules, which were checked against the locked versions."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
import rich.style
import textual._compositor
import textual._xterm_parser
import textual.app
import textual.drivers.linux_driver
import textual.screen
import textual.widgets

from paragone_tui.terminal.changed_rows_screen import CHECKED_VERSIONS

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / "tui" / "paragone_tui"
INTERNALS = {*SCREENS.glob("terminal/*.py"), SCREENS / "program_app.py"}
MODULES = sorted(SCREENS.rglob("*.py"))
MEANT = {
    "paragone_tui.program_app.ProgramApp": {
        "_clipboard",
        "_close_messages_no_wait",
        "_driver",
        "_exit",
        "_exit_renderables",
        "_fatal_error",
        "_handle_exception",
        "_notifications",
        "_refresh_notifications",
        "_refresh_truecolor_filter",
        "_running",
        "_unnotify",
    },
    "paragone_tui.terminal.changed_rows_screen.ChangedRowsScreen": {
        "_callbacks",
        "_compositor",
        "_compositor_refresh",
        "_dirty_widgets",
        "_layout_required",
        "_layout_widgets",
        "_on_layout",
        "_on_resize",
        "_on_screen_resume",
        "_on_timer_update",
        "_refresh_layout",
        "_repaint_required",
        "_size",
    },
    "paragone_tui.terminal.changed_rows_screen._ChangedRowsCompositor": {"_dirty_regions", "_get_renders"},
    "paragone_tui.terminal.driver.TerminalDriver": {
        "_auto_restart",
        "_loop",
        "_must_signal_resume",
        "_sigcont_application",
        "_sigtstp_application",
        "_writer_thread",
    },
}
"""The private names of Textual that our classes replace, call or set."""
FOREIGN = (
    textual.app.App,
    textual.screen.ModalScreen,
    textual.widgets.Input,
    textual.widgets.OptionList,
    textual.widgets.TextArea,
    textual._compositor.Compositor,
    textual._compositor.ChopsUpdate,
    textual._compositor.LayoutUpdate,
    textual._xterm_parser.XTermParser,
    textual.drivers.linux_driver.LinuxDriver,
    rich.style.Style,
)


def is_foreign(module: str) -> bool:
    return module.partition(".")[0] in ("textual", "rich")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@cache
def private_names(*classes: type) -> set[str]:
    """Return the private attributes that Textual and Rich define in these classes and their bases."""
    bases = {base for of in classes for base in of.__mro__ if is_foreign(base.__module__)}
    return set().union(*map(private_names_of, bases))


@cache
def private_names_of(base: type) -> set[str]:
    found = {*vars(base), *re.findall(r"\bself\.(_\w+)", inspect.getsource(base))}
    return set(filter(is_private, found))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def own_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the private names that a piece of code defines, as methods and as attributes of `self`."""
    found = set()
    for it in nodes:
        if isinstance(it, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(it.name)
        elif isinstance(it, ast.Attribute) and isinstance(it.value, ast.Name) and it.value.id == "self":
            found.add(it.attr)
    return set(filter(is_private, found))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "tui").with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("package", CHECKED_VERSIONS)
def test_the_used_internals_of_textual_were_checked_against_the_locked_version(package):
    locked = re.search(rf"^{package}==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert locked is not None
    assert locked[1] == CHECKED_VERSIONS[package], (
        f"{package} was locked anew. Read what changed in the names that tui/paragone_tui/terminal and program_app.py use; run "
        "tests/tui, tests/screen and tests/end_to_end, of which test_painting.py compares the terminal with what "
        "Textual's own painting leaves there; then write the new version into CHECKED_VERSIONS. If a name is gone, "
        "change those modules only."
    )


def test_only_listed_modules_use_private_names_of_textual():
    """And none imports a private module."""
    found = {}
    for path in (path for path in MODULES if path not in INTERNALS):
        nodes = list(ast.walk(parsed(path)))
        imported = {it.module for it in nodes if isinstance(it, ast.ImportFrom) and it.module}
        imported |= {name.name for it in nodes if isinstance(it, ast.Import) for name in it.names}
        private = {it for it in imported if is_foreign(it) and any(map(is_private, it.split(".")))}
        theirs = private_names(*FOREIGN) - own_names(nodes)
        used = {it.attr for it in nodes if isinstance(it, ast.Attribute) and it.attr in theirs}
        found[name_of(path)] = private | used
    assert len(found) > 30
    assert {module: names for module, names in found.items() if names} == {}


def test_no_class_has_a_private_name_of_its_base():
    """Such a method or attribute replaces Textual's, perhaps by chance; `MEANT` has those that are meant."""
    found = {}
    for path in MODULES:
        module = importlib.import_module(name_of(path))
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef):
                names = own_names(ast.walk(node)) & private_names(vars(module)[node.name])
                found[f"{name_of(path)}.{node.name}"] = names
    assert len(found) > 50
    assert {name: names for name, names in found.items() if names} == MEANT
