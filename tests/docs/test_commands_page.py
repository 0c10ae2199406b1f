"""docs/commands.md is what `make reference` writes."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date():
    written = runpy.run_path(str(DOCS / "reference.py"))["page"]()
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == written, "run `make reference`"
