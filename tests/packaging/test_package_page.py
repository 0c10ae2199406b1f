"""The page that a package index shows: README.md, whose links and pictures lead to the public repository."""

import re
import tomllib

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

ADDRESS = "https://git.example/someone/paragone"
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def project(checkout):
    """A function that returns the metadata that is built when the repository has this public address."""

    def read(address: str) -> ProjectMetadata[PluginManager]:
        config = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
        config["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"] = address
        return ProjectMetadata(str(checkout), PluginManager(), config)

    return read


@pytest.fixture(scope="module")
def readme(checkout) -> str:
    return (checkout / "README.md").read_text(encoding="utf-8")


def test_links_and_pictures_are_absolute_and_lead_to_files_of_the_repository(project, readme, checkout):
    page = project(ADDRESS).core.readme
    links = [link for link in LINK.findall(page) if not link.startswith("#")]
    assert len(links) == len([link for link in LINK.findall(readme) if not link.startswith("#")])
    assert all(link.startswith("https://") for link in links)
    ours = [link.removeprefix(ADDRESS) for link in links if link.startswith(ADDRESS)]
    assert len(ours) > 20
    for link in ours:
        view, _, path = link.removeprefix("/").partition("/HEAD/")
        assert view in ("blob", "raw")
        assert (checkout / path.partition("#")[0]).is_file(), link
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page)
    assert pictures
    assert all(picture.startswith(f"{ADDRESS}/raw/HEAD/docs/screens/") for picture in pictures)


def test_only_links_are_changed(project, readme):
    def without_links(page: str) -> str:
        return LINK.sub("]", page)

    assert without_links(project(ADDRESS).core.readme) == without_links(readme)


def test_without_a_repository_address_links_become_text(project):
    metadata = project("")
    assert all(link.startswith(("https://", "#")) for link in LINK.findall(metadata.core.readme))
    assert "| docs/suites.md | files of prompts" in metadata.core.readme
    assert metadata.core.urls == {}


def test_the_project_urls_lead_to_the_repository(project):
    urls = project(f"{ADDRESS}/").core.urls
    assert {"Source", "Documentation", "Changelog", "Issues"} == set(urls)
    assert all(url.startswith(ADDRESS) and "//" not in url.removeprefix("https://") for url in urls.values())
