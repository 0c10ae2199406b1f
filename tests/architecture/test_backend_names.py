"""Names of backends and of their options appear only in their own packages, in strings too."""

import re
import tokenize
import tomllib
from pathlib import Path

from paragone.discovery import discover
from paragone.options import describe

ROOT = Path(__file__).parents[2]
FOLDERS = ("plugins", "workbench", "tui")
SHARED = {"stop", "seed", "thinking", "lora", "url", "headers"}
"""Option names that the program also uses in another meaning: `url` is a field of the JSON that `models` prints, `headers`
one of what the server of `serve` sends."""


def strings(path: Path) -> set[str]:
    with path.open("rb") as file:
        return {
            token.string.strip("rfbRFB").strip("\"'")
            for token in tokenize.tokenize(file.readline)
            if token.type == tokenize.STRING
        }


def test_no_string_names_a_backend_or_its_options():
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["paragone"]
    backends = [backend for name, backend in discover().backends.items() if name in ours]
    assert len(backends) == len(ours)
    names = {backend.name for backend in backends}
    secret = {
        info.name
        for backend in backends
        for info in describe(backend.load_options)
        if info.secret or info.address
    }
    forbidden = names | (secret - SHARED)
    quoted = re.compile(f"['\"]({'|'.join(forbidden)})['\"]")  # also in comments
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if not quoted.search(path.read_text(encoding="utf-8")):  # splitting into tokens takes much longer
                continue
            found = strings(path) & forbidden
            assert not found, f"{path.relative_to(ROOT)} names {', '.join(found)}"
