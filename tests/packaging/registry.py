"""A package index on loopback, with the packages of this environment."""

import contextlib
import functools
import http.server
import re
import threading
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

LARGEST = 1_000_000
"""Largest size in bytes of a file that is packed: starting the program needs no larger one."""


def pack(installed: Distribution, folder: Path) -> None:
    """Write the wheel from which a package was installed: the files that its RECORD lists, without scripts and caches.

    Large files, such as the libraries of llama.cpp and scipy, are missing in it.
    """
    name = re.sub(r"[-_.]+", "_", installed.name)
    tags = re.findall(r"^Tag: (.+)$", installed.read_text("WHEEL") or "", re.MULTILINE)
    with zipfile.ZipFile(folder / f"{name}-{installed.version}-{tags[0]}.whl", "w") as wheel:
        for file in installed.files or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and "__pycache__" not in file.parts and path.stat().st_size <= LARGEST:
                wheel.write(path, str(file))


def required(name: str) -> dict[str, Distribution]:
    """The packages of this environment that a package needs without its extras, by their names."""
    found: dict[str, Distribution] = {}
    wanted = [Requirement(name)]
    while wanted:
        asked = wanted.pop()
        for text in distribution(asked.name).requires or ():
            requirement = Requirement(text)
            extras = asked.extras or {""}
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": each}) for each in extras
            ):
                found[requirement.name] = distribution(requirement.name)
                wanted.append(requirement)
    return found


def add_to_index(folder: Path, file: Path) -> None:
    """List a file of a folder in its package index."""
    project = folder / "index" / re.sub(r"[-_.]+", "-", file.name.split("-")[0]).lower()
    project.mkdir(parents=True, exist_ok=True)
    with (project / "index.html").open("a") as page:
        page.write(f'<a href="/{file.name}">{file.name}</a>\n')


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files in a folder as a package index, and yield its address."""
    for file in [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]:
        add_to_index(folder, file)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/index"
        finally:
            server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing to the terminal."""
