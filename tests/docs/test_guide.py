"""docs/guide.md: its lines of config define engines."""

from pathlib import Path

from tests.docs.markdown import blocks

from paragone_workbench.config import read as config
from paragone_workbench.engines.registry import Registry

PAGE = Path(__file__).parents[2] / "docs" / "guide.md"


def test_the_engines_of_the_pages_are_defined(home):
    path = home / "config.toml"
    (block,) = blocks(PAGE, "toml")
    path.write_text(block, encoding="utf-8")
    found, problems = config.load_with_problems(path, backend=Registry().get)
    assert problems == []
    assert set(found.engines) == {"small", "smaller"}
