"""Writes the generated pages in docs/. Run it with `make reference`."""

from pathlib import Path

from docs.reference import commands, keys, manual, plugins, settings

DOCS = Path(__file__).parents[1]

PAGES = {
    "commands.md": commands.page,
    "keys.md": keys.page,
    "plugin-reference.md": plugins.page,
    "settings.md": settings.page,
    "paragone.1": manual.page,
}
"""The functions that make the pages, by the names of the files."""


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
