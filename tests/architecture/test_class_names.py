"""The name of a public class or type says whose it is: no other module has a public class or type of that name."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("tui", "backends", "plugins", "workbench", "integrations")


def names_of_types(module: ast.Module):
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            yield ast.unparse(node.target)


def test_each_public_class_name_occurs_once():
    modules = defaultdict(list)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for name in names_of_types(ast.parse(path.read_text(encoding="utf-8"))):
                if not name.startswith("_"):
                    modules[name].append(str(path.relative_to(ROOT)))
    assert len(modules) > 500
    assert {name: found for name, found in modules.items() if len(found) > 1} == {}
