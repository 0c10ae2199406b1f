"""Links between pages work, and the README has a list of all pages."""

import re
from functools import cache
from pathlib import Path

import pytest
from tests.docs.markdown import prose, section

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_link_targets_exist(page):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_the_readme_links_every_page_in_one_place():
    links = set(re.findall(r"\]\(([^)\s]+)\)", section(ROOT / "README.md", "## Documentation")))
    assert links >= {str(page.relative_to(ROOT)) for page in PAGES} - {"README.md"}
