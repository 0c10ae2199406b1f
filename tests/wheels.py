"""Wheels with one module, and a stand-in for uv, for tests that create environments."""

import os
import shlex
import zipfile
from pathlib import Path

STAND_IN = """\
#!/bin/sh
case "$1" in
venv)
for new; do :; done
mkdir -p "$new/bin" "$new/lib/python3.11/site-packages"
printf '#!/bin/sh\\n%s\\n' {check} > "$new/bin/python"
chmod +x "$new/bin/python"
{create};;
*) {install};;
esac
"""


def stand_in_uv(folder: Path, *, create: str = ":", install: str = ":", check: str = "echo Hello.") -> str:
    """Write a script `uv` that creates environments in no time and installs nothing, and return a PATH with it.

    `create` and `install` are what it does at these stages; `check` is what the interpreter of the environment does.
    """
    folder.mkdir(exist_ok=True)
    (folder / "uv").write_text(STAND_IN.format(create=create, install=install, check=shlex.quote(check)))
    (folder / "uv").chmod(0o755)
    return f"{folder}{os.pathsep}{os.defpath}"


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
