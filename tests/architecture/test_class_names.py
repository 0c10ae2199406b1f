"""The name of a public class says whose it is: no other package has a public class of that name."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("tui", "backends", "plugins", "workbench", "integrations")


def test_each_public_class_name_occurs_once():
    modules = defaultdict(list)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    modules[node.name].append(str(path.relative_to(ROOT)))
    assert len(modules) > 500
    assert {name: found for name, found in modules.items() if len(found) > 1} == {}
