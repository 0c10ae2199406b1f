"""docs/servers.md: its config blocks are valid, and its tables have all servers."""

import tomllib
from pathlib import Path
from typing import Any

from paragone.discovery import discover
from paragone_remote.openai_servers import KINDS
from paragone_workbench.engines.definitions import EngineDefinition, load_and_sampling_options

PAGE = (Path(__file__).parents[3] / "docs" / "servers.md").read_text(encoding="utf-8")


def engines():
    """Return the engines that the page defines."""
    blocks = PAGE.split("```toml\n")[1:]
    found: dict[str, dict[str, Any]] = {}
    for block in blocks:
        found |= tomllib.loads(block.partition("```")[0]).get("engines", {})
    return [
        EngineDefinition(name=name, backend=table.pop("backend"), model=table.pop("model"), options=table)
        for name, table in found.items()
    ]


def test_every_config_block_is_valid():
    defined = engines()
    assert {definition.backend for definition in defined} == {"ollama", "openai", "llama_server"}
    for definition in defined:
        load_and_sampling_options(definition, discover(definition.backend).backends[definition.backend])


def test_the_page_has_every_server_and_what_it_was_tested_with():
    for name in KINDS:
        assert name in PAGE
    (tested,) = (line for line in PAGE.splitlines() if line.startswith("| tested with |"))
    assert tested.count("the real server") + tested.count("a double") == 7
