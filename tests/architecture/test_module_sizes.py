"""A module has one subject, so it is short. A folder has one too, so it has few modules."""

import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 400
"""Lines of a module."""

MOST_IN_A_FOLDER = 14
"""Modules of a folder."""

PUBLIC = "plugins/paragone"
"""Authors of plugins import its modules by these names, so it may have more."""


def modules():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    found = [path.relative_to(ROOT) for package in packages for path in (ROOT / package).rglob("*.py")]
    assert len(found) > 300
    return found


def test_no_module_is_too_long():
    lines = {str(it): len((ROOT / it).read_text(encoding="utf-8").splitlines()) for it in modules()}
    assert {name for name, count in lines.items() if count > MOST} == set()


def test_no_folder_has_too_many_modules():
    counts = Counter(str(it.parent) for it in modules() if it.name != "__init__.py")
    assert {folder for folder, count in counts.items() if count > MOST_IN_A_FOLDER} == {PUBLIC}
