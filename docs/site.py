"""Builds the website of the documentation in `dist/site` with Zensical. Run it with `make site`.

The pages keep their places in the repository, so that their links work. docs/README.md lists them in the order of the menu.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import tomli_w

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "dist"
LINKED = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "changes/README.md",
    "config.toml",
    "Containerfile",
    "LICENSE",
    ".github/workflows/release.yml",
)
"""Files outside of docs that are pages, or to which pages link."""


def menu() -> list[str]:
    """Return the README, and the pages that docs/README.md lists, in its order."""
    index = ROOT / "docs" / "README.md"
    links = re.findall(r"\]\(([\w/.-]+\.md)\)", index.read_text(encoding="utf-8"))
    pages = [str((index.parent / link).resolve().relative_to(ROOT)) for link in links]
    return ["README.md", *dict.fromkeys(pages)]


def lay_out(folder: Path) -> None:
    """Copy the pages, and write the settings of Zensical, into an empty folder."""
    left_out = shutil.ignore_patterns("*.py", "reference", "__pycache__")
    shutil.copytree(ROOT / "docs", folder / "pages" / "docs", ignore=left_out)
    for name in LINKED:
        (folder / "pages" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "pages" / name)
    project = {
        "site_name": "paragone",
        "site_description": "Swap local inference engines from a terminal, and set their answers side by side.",
        "docs_dir": "pages",
        "nav": menu(),
        "use_directory_urls": False,  # the site can be read from a folder, without a server
        "theme": {"font": False},  # the site contacts no other
    }
    (folder / "zensical.toml").write_text(tomli_w.dumps({"project": project}), encoding="utf-8")


if __name__ == "__main__":
    folder = BUILD / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(folder)
    subprocess.run([sys.argv[1], "build", "--clean", "--strict"], cwd=folder, check=True)
    shutil.rmtree(BUILD / "site", ignore_errors=True)
    (folder / "site").rename(BUILD / "site")
    shutil.rmtree(folder)
