"""The pages that `make reference` writes are up to date, and complete."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest
from docs.reference.__main__ import DOCS, PAGES
from tests.docs.existing import ROOT, is_command
from textual.binding import Binding
from textual.dom import DOMNode

import paragone_tui
from paragone_cli.commands import EXAMPLES
from paragone_tui.keys import readable_keys
from paragone_workbench.config.read import TABLES

PAGES_WITH_COMMANDS = sorted(
    page
    for page in (ROOT / "README.md", *DOCS.rglob("*.md"))
    if "paragone " in page.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make reference`"


def test_every_table_is_on_the_page_of_settings():
    page = PAGES["settings.md"]()
    assert all(re.search(rf"^## `\[{table}\b", page, re.MULTILINE) for table in TABLES)


def command_lines(text: str) -> Iterator[str]:
    """Yield the command lines of paragone in blocks for a shell and in code spans, usage lines excepted."""
    lines = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).splitlines()
    spans = re.findall(
        r"`(paragone [^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )
    for line in (*lines, *(span for span in spans if not re.search(r"[|[\]]|COMMAND", span))):
        if found := re.search(r"(?:^|\| )(paragone [^|<>&]+)", line):
            yield found[1]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.name)
def test_every_command_line_on_a_page_is_valid(page):
    lines = list(command_lines(page.read_text(encoding="utf-8")))
    assert not [line for line in lines if not is_command(line)]


def test_the_examples_of_the_help_are_valid():
    for name, examples in EXAMPLES.items():
        for line in map(str.strip, examples.strip().splitlines()):
            (found,) = command_lines(f"```sh\n{line}\n```")
            assert is_command(found), line
            assert found.startswith(f"paragone {name}".rstrip())


def bound_keys() -> Iterator[tuple[str, str]]:
    """Yield each key that a class of the screen binds, with the name of the class."""
    for module in pkgutil.walk_packages(paragone_tui.__path__, "paragone_tui."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and issubclass(kind, DOMNode) and kind.__module__ == module.name:
                for binding in vars(kind).get("BINDINGS", ()):
                    keys = binding.key if isinstance(binding, Binding) else binding[0]
                    yield from ((kind.__name__, readable_keys([key.strip()])) for key in keys.split(","))


def test_every_key_is_on_the_page_of_keys():
    shown = " ".join(re.findall(r"`+ ?(.+?) ?`+", PAGES["keys.md"]())).replace("\\|", "|")
    ranges = (range(ord(first), ord(last) + 1) for first, last in re.findall(r"(\w) … (\w)", shown))
    named = {*shown.split(), *(chr(code) for codes in ranges for code in codes)}
    assert not [(kind, key) for kind, key in bound_keys() if key not in named]
