"""The documentation of servers: its config blocks are valid, and its table has the actual messages."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from paragone.discovery import discover
from paragone_workbench.engines.definitions import EngineDefinition, split_options

DOCS = Path(__file__).parents[3] / "docs"
PAGES = [
    DOCS / "ollama.md",
    DOCS / "endpoints.md",
    DOCS / "llama-server.md",
    *sorted((DOCS / "openai").glob("*.md")),
]


def engines(page):
    """Return the engines that a page defines."""
    blocks = page.read_text().split("```toml\n")[1:]
    found: dict[str, dict[str, Any]] = {}
    for block in blocks:
        found |= tomllib.loads(block.partition("```")[0]).get("engines", {})
    return [
        EngineDefinition(name=name, backend=table.pop("backend"), model=table.pop("model"), options=table)
        for name, table in found.items()
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_config_block_is_valid(page):
    defined = engines(page)
    assert defined
    for definition in defined:
        split_options(definition, discover(definition.backend).backends[definition.backend])


def test_every_server_has_a_page_that_states_whether_it_was_tested():
    listed = (DOCS / "openai.md").read_text()
    for page in sorted((DOCS / "openai").glob("*.md")):
        assert f"(openai/{page.name})" in listed
        assert "ested with the real server" in page.read_text()
