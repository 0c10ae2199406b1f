"""A module has one subject, so it is short."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 400
"""Lines of a module."""


def test_no_module_is_too_long():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert len(modules) > 300
    lines = {str(it.relative_to(ROOT)): len(it.read_text(encoding="utf-8").splitlines()) for it in modules}
    assert {name for name, count in lines.items() if count > MOST} == set()
