"""Import rules: the contracts in pyproject.toml, checked with import-linter."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)


def test_the_contracts_are_kept():
    ended = lint(ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_package_is_under_contract():
    """The linter must know each package of the wheel, or it does not check that package."""
    packages = {Path(path).name for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    assert packages == set(PROJECT["tool"]["importlinter"]["root_packages"])
    on_disk = {
        init.parent.name
        for folder in ("tui", "workbench", "plugins", "backends")
        for init in (ROOT / folder).glob("*/__init__.py")
    }
    assert packages == on_disk
    backends = {init.parent.name for init in (ROOT / "backends").glob("*/__init__.py")}
    contracts = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
    assert set(contracts["backends import paragone only"]["source_modules"]) == backends
    assert set(contracts["backends do not import each other"]["modules"]) == backends
    assert set(contracts["nothing imports a backend"]["forbidden_modules"]) == backends
