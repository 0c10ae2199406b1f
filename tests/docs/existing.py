"""Everything that a page may name: files, names in the sources, commands, and names declared elsewhere."""

import ast
import re
import shlex
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_args

from paragone import InputError
from paragone.discovery import discover
from paragone.options import describe
from paragone_cli.commands import parse
from paragone_tui.commands import COMMANDS as SCREEN_COMMANDS
from paragone_workbench.config.settings import Mode

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [ROOT / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
CONTRACTS = [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]
MARKS = [mark.partition(":")[0] for mark in PROJECT["tool"]["pytest"]["ini_options"]["markers"]]


class Source(NamedTuple):
    """What a file defines. Its syntax tree is not kept: every search for garbage would go through the nodes of all files."""

    names: set[str]
    members: dict[str, set[str]]
    """The members of each class, without the inherited ones."""
    bases: dict[str, set[str]]
    """The names of the base classes of each class."""


@cache
def sources() -> dict[Path, Source]:
    files = [path for package in PACKAGES for path in package.rglob("*.py")]
    return {path: source(ast.parse(path.read_text(encoding="utf-8"))) for path in files}


def source(tree: ast.Module) -> Source:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return Source(
        {name for node in tree.body for name in defined(node)},
        {kind.name: members(kind) for kind in classes},
        {kind.name: {ast.unparse(base).split("[")[0] for base in kind.bases} for kind in classes},
    )


@cache
def modules() -> set[str]:
    """Dotted names of the project's packages and modules, and of the test doubles."""
    names = set()
    for package in (*PACKAGES, *(ROOT / "tests" / "doubles").iterdir()):
        for path in (package, *package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            names.add(".".join(part for part in parts if part != "__init__"))
    return names


@cache
def names() -> dict[str, set[str]]:
    """Names that modules define, and the members of classes, inherited ones included."""
    found: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for it in sources().values():
        for name in it.names:
            found.setdefault(name, set()).update(it.members.get(name, ()))
        for name, its_bases in it.bases.items():
            bases.setdefault(name, set()).update(its_bases)
    for name in bases:
        wanted, seen = set(bases[name]), {name}
        while wanted:
            seen.add(base := wanted.pop())
            found[name] |= found.get(base, set())
            wanted |= bases.get(base, set()) - seen
    return found


def defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.name]
        case ast.Assign():
            return [it.id for target in node.targets for it in ast.walk(target) if isinstance(it, ast.Name)]
        case ast.AnnAssign(target=ast.Name() as target):
            return [target.id]
    return []


def members(kind: ast.ClassDef) -> set[str]:
    own = {name for node in kind.body for name in defined(node)}
    set_on_self = {
        node.attr
        for node in ast.walk(kind)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    return own | set_on_self


@cache
def shared_by_tests() -> set[str]:
    """Names that tests/conftest.py defines, and the fixtures by which it marks tests."""
    tree = ast.parse((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    (marks,) = (
        it.value for it in tree.body if isinstance(it, ast.Assign) and defined(it) == ["MARKS_BY_FIXTURE"]
    )
    fixtures = set().union(*ast.literal_eval(marks).values())
    return fixtures | {name for node in tree.body for name in defined(node)}


@cache
def declared() -> set[str]:
    """Names that are not defined in Python: options, marks, contracts, tables, threads …"""
    backends = discover().backends
    options = {
        info.name
        for backend in backends.values()
        for kind in (backend.load_options, backend.sampling)
        for info in describe(kind)
    }
    migrations = ROOT / "workbench" / "paragone_workbench" / "store" / "file" / "schema"
    sql = "".join(path.read_text(encoding="utf-8") for path in migrations.glob("*.sql"))
    tables = set(re.findall(r"^CREATE (?:VIRTUAL )?TABLE (\w+)", sql, re.MULTILINE))
    text = "".join(path.read_text(encoding="utf-8") for path in sources())
    threads = set(re.findall(r'name="([\w-]+)", daemon=True', text))
    ids = {command.id for command in SCREEN_COMMANDS}
    arguments = {"address", "secret", "outside"}  # of `option`
    return {*CONTRACTS, *MARKS, *backends, *options, *tables, *threads, *ids, *arguments, *get_args(Mode)}


def defining_files(name: str) -> set[Path]:
    """The files that define a name."""
    return {path for path, it in sources().items() if name in it.names}


def is_make(span: str) -> bool:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    match = re.fullmatch(r"make ([a-z-]+)", span)
    return match is not None and re.search(rf"^{match[1]}:", makefile, re.MULTILINE) is not None


def is_command(span: str) -> bool:
    """Whether it is a valid command line of paragone, or the beginning of one."""
    program, *words = shlex.split(span.replace("…", " "))
    if program != "paragone" or not words:
        return False
    try:
        name, _ = parse(words)
    except InputError as error:
        return (
            re.search("arguments are required|expected (one|at least one) argument", error.message)
            is not None
        )
    engine, *_ = words
    return bool(name) or engine.startswith("-") or ":" in engine or engine == "small"


def is_path(span: str) -> bool:
    """Whether it is a file or folder, relative to the root of the repository."""
    if not re.fullmatch(r"[\w.*/-]+", span) or span.startswith("/"):
        return False
    return any(ROOT.glob(span.rstrip("/")))


def is_test_run(span: str) -> bool:
    program, *words = span.split()
    return program == ".venv/bin/pytest" and bool(words) and all(map(is_path, words))


def is_name(span: str) -> bool:
    """Whether it is a name in the sources, or a member of a class: `Session`, `Session.send`, `execute`."""
    name, dot, member = span.partition(".")
    return name in names() and (not dot or member in names()[name])


_RESOLVERS: list[Callable[[str], bool]] = [
    is_make,
    is_command,
    is_path,
    is_test_run,
    is_name,
    lambda span: span in shared_by_tests(),
    lambda span: span in modules(),
    lambda span: span in declared(),
]


def exists(span: str) -> bool:
    """Whether an inline code span names something in the project."""
    return any(resolver(span) for resolver in _RESOLVERS)
