"""Builds the website of the documentation in `dist/site` with Zensical. Run it with `make site`.

The pages keep their places in the repository, so that their links work.
"""

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
MENU = {
    "Use": (
        *(
            "README",
            "tutorial",
            "guide",
            "choose",
            "compare",
            "fidelity",
            "suites",
            "benchmarks",
            "bench",
            "voting",
        ),
        *("servers", "exllama", "serve", "history", "reliability", "install", "performance", "platforms"),
        "measures",
    ),
    "Look up": ("commands", "command-line", "settings", "keys"),
    "Develop": (
        *("architecture", "plugins", "plugin-reference", "library", "glossary", "reliability-tests"),
        *("../CONTRIBUTING", "../SECURITY", "../CHANGELOG"),
    ),
}
"""The groups of the menu, each with the pages of docs in the order in which one reads them."""


def menu() -> dict[str, list[str]]:
    """Return the groups of the menu with the paths of those pages that exist."""
    return {
        group: [
            str(page.resolve().relative_to(ROOT))
            for name in names
            for page in sorted((ROOT / "docs").glob(f"{name}.md"))
        ]
        for group, names in MENU.items()
    }


def lay_out(folder: Path) -> None:
    """Copy the pages, and write the settings of Zensical, into an empty folder."""
    skipped = shutil.ignore_patterns("*.py", "reference", "__pycache__")
    shutil.copytree(ROOT / "docs", folder / "pages" / "docs", ignore=skipped)
    for name in LINKED:
        (folder / "pages" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "pages" / name)
    project = {
        "site_name": "paragone",
        "site_description": "Run local inference engines side by side in a terminal, and see which one to deploy.",
        "docs_dir": "pages",
        "nav": ["README.md", *({group: pages} for group, pages in menu().items())],
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
