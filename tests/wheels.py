"""Wheels with one module, for tests that create real environments."""

import sys
import sysconfig
import zipfile
from pathlib import Path

# `python -m venv` spends seconds on installing pip. This interpreter lets the environment import pip from another folder.
QUICK_PYTHON = """\
#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
{python} -m venv --without-pip "$3"
echo {pip} > "$3"/lib/python{version}/site-packages/pip.pth
"""


def quick_python(folder: Path) -> str:
    """Write an interpreter that creates environments quickly, and return its path; this interpreter if there is no pip."""
    import ensurepip

    packages = Path(sysconfig.get_path("purelib", vars={"base": sys.base_prefix}))
    wheels = Path(ensurepip.__file__).with_name("_bundled").glob("pip-*.whl")
    pip = packages if (packages / "pip").is_dir() else next(wheels, None)
    if pip is None:
        return sys.executable
    script = folder / "quick-python"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    script.write_text(QUICK_PYTHON.format(python=sys.executable, version=version, pip=pip))
    script.chmod(0o755)
    return str(script)


STAND_IN = """\
#!/bin/sh
case "$*" in
*version_info*) echo {version};;
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; {create};;
"-m pip install "*) {install};;
*) {check};;
esac
"""


def stand_in_python(
    path: Path, *, create: str = ":", install: str = ":", check: str = "echo this is Python"
) -> str:
    """Write a script that creates environments in no time and installs nothing, and return its path.

    `create`, `install` and `check` are what it does at these stages.
    """
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    path.write_text(STAND_IN.format(version=version, create=create, install=install, check=check))
    path.chmod(0o755)
    return str(path)


def write_wheel(folder: Path, name: str, version: str, source: str) -> Path:
    """Write a wheel that contains the module `name`, and return its path."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", source)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path
