"""The name of a public class or type says whose it is: no other module has a public class or type of that name."""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("tui", "backends", "plugins", "workbench")


TYPE = re.compile(r"^ *(?:class (\w+)[:(\[]|(\w+): TypeAlias\b)", re.MULTILINE)
"""The beginning of a class or of a type. Parsing all modules would take twenty times as long."""


def test_each_public_class_name_occurs_once():
    modules = defaultdict(list)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for match in TYPE.finditer(path.read_text(encoding="utf-8")):
                name = match[1] or match[2]
                if not name.startswith("_"):
                    modules[name].append(str(path.relative_to(ROOT)))
    assert {file.split("/")[0] for found in modules.values() for file in found} == set(FOLDERS)
    assert {name: found for name, found in modules.items() if len(found) > 1} == {}
