"""The website has all pages, and all files to which they link. Zensical itself is not installed here: `make site` runs it."""

import re
import tomllib

import pytest
from docs.site import lay_out
from tests.docs.markdown import prose


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    lay_out(folder)
    return folder


def test_the_menu_has_every_page_once(site):
    first, *groups = tomllib.loads((site / "zensical.toml").read_text())["project"]["nav"]
    listed = [page for group in groups for pages in group.values() for page in pages]
    assert first == "README.md"
    assert sorted([first, *listed]) == sorted(
        str(page.relative_to(site / "pages"))
        for page in (site / "pages").rglob("*.md")
        if page.parent.name != "changes"
    )


def test_every_link_leads_to_a_file_of_the_site(site):
    for page in (site / "pages").rglob("*.md"):
        for link in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", prose(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            assert target.exists(), f"{page.name}: {link}"
            assert target.is_relative_to(site), f"{page.name}: {link}"
