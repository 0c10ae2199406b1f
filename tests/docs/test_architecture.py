"""The pages for developers: everything they name exists, and everything that must be described is.

In architecture.md, glossary.md and CONTRIBUTING.md, each inline code span must be something that
`tests.docs.existing` finds, or be listed in `ELSEWHERE`.
"""

import re

import pytest
from tests.docs.existing import (
    CONTRACTS,
    MARKS,
    PACKAGES,
    PROJECT,
    ROOT,
    defining_files,
    exists,
    is_command,
    is_make,
    is_path,
)
from tests.docs.markdown import blocks, prose, section

ARCHITECTURE = ROOT / "docs" / "architecture.md"
CHECKED = [ARCHITECTURE, ROOT / "docs" / "glossary.md", ROOT / "CONTRIBUTING.md"]

ELSEWHERE = {
    # Python, pytest, Textual and the system
    *("--snapshot-update", "Screen", "asyncio.to_thread"),
    *("except Exception", "llama_cpp.server", ".venv", "__init__.py", "mypy", "Any", "utils"),
    ".venv/bin/pre-commit install",
    # patterns, and words that are neither names nor commands
    *("BACKEND:MODEL", "BACKEND:MODEL@URL", "NNNN_NAME.sql"),
    *("[keys]", "paragone"),
    *("--json", "--set", "packages", "code font"),
}
"""Names on the pages that this project does not define."""


def spans(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def known(span: str) -> bool:
    return span in ELSEWHERE or exists(span)


# ── Names on the pages exist ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: page.stem)
def test_names_on_a_page_exist(page):
    unknown = [span for span in spans(prose(page)) if not known(span)]
    assert not unknown, f"{page.name} names things that do not exist: {sorted(unknown)}"


def test_names_in_the_tables_of_folders_are_defined_in_these_folders():
    rows = re.findall(
        r"^\| (?:\d+ \| )?(`[^|]+`) \| (.+) \|$", section(ARCHITECTURE, "## Packages"), re.MULTILINE
    )
    checked = 0
    for places, text in rows:
        folders = [ROOT / place for place in re.findall(r"`([\w/]+(?:\.py)?)`", places) if is_path(place)]
        for name in spans(text):
            files = defining_files(name)
            if folders and files:
                checked += 1
                assert any(file.is_relative_to(folder) for file in files for folder in folders), (
                    places,
                    name,
                )
    assert checked > 15


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: page.stem)
def test_commands_in_blocks_exist(page):
    for line in "".join(blocks(page, "sh")).splitlines():
        assert is_make(line) or is_command(line), line


def test_the_overview_names_existing_folders():
    picture, _ = blocks(ARCHITECTURE, "")
    for line in picture.splitlines():
        if "/" in line:
            assert is_path(line.split()[0]), line
    assert all(map(is_path, picture.splitlines()[-1].split()[:3]))


@pytest.mark.parametrize(
    "span",
    [
        *("make chek", "paragone aks", "paragone ask --jsn", "tui/paragone_tui/scren", "Session.sendd"),
        *("Sesion", "paragone.wires", "/etc/passwd", ".venv/bin/pytest tests/nothing.py"),
    ],
)
def test_unknown_names_are_found(span):
    assert not known(span)


def test_every_exception_is_used():
    assert set().union(*(spans(prose(page)) for page in CHECKED)) >= ELSEWHERE


# ── The pages are complete ───────────────────────────────────────────────────────────────────


def folders() -> list[str]:
    """The packages and their folders."""
    folders = [
        *PACKAGES,
        *(init.parent for package in PACKAGES[:3] for init in package.glob("*/__init__.py")),
        *(init.parent for init in (ROOT / "tui/paragone_tui/screens").glob("*/__init__.py")),
    ]
    return [str(folder.relative_to(ROOT)) for folder in folders if folder.name != "screens"]


@pytest.mark.parametrize("folder", folders())
def test_every_folder_is_described(folder):
    assert f"`{folder}`" in prose(ARCHITECTURE)


def test_the_layers_on_the_page_are_import_linters():
    (layers,) = (
        contract["layers"]
        for contract in PROJECT["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == ["paragone_workbench"]
    )
    rows = re.findall(
        r"^\| (\d+) \| `workbench/paragone_workbench/(\w+)(?:\.py)?` \|", prose(ARCHITECTURE), re.MULTILINE
    )
    numbered = {
        name.strip(): len(layers) - place
        for place, layer in enumerate(layers)
        for name in re.split("[|:]", layer)
    }
    assert {name: int(layer) for layer, name in rows} == numbered


def test_every_contract_is_explained():
    rows = re.findall(r"^\| `([^`]+)` \|", section(ARCHITECTURE, "### Import rules"), re.MULTILINE)
    assert rows == CONTRACTS


def test_every_mark_is_explained():
    marks = re.findall(r"^\| `([^`]+)` \|", section(ROOT / "CONTRIBUTING.md", "## Tests"), re.MULTILINE)
    assert sorted(marks) == sorted(MARKS)


@pytest.mark.parametrize("title", ["## paragone's terms", "## Common terms"])
def test_the_glossary_is_in_alphabetical_order(title):
    terms = re.findall(r"^\| ([^|]+) \|", section(CHECKED[1], title), re.MULTILINE)[2:]
    assert len(terms) > 20
    assert terms == sorted(terms, key=str.casefold)
