"""docs/reliability-tests.md: each promise names tests that exist."""

import re
from pathlib import Path

from tests.docs.markdown import prose

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability-tests.md"


def test_every_promise_names_tests_that_exist():
    tables = prose(PAGE).partition("\n## Tried by hand\n")[0]
    rows = re.findall(r"^\| [^|-][^|]* \| [^|]+ \| ([^|]+) \|$", tables, re.MULTILINE)
    promises = [row for row in rows if row != "tests"]
    assert len(promises) > 30
    for row in promises:
        paths = re.findall(r"`([\w/]+\.py)`", row)
        assert paths, row
        assert all((ROOT / "tests" / path).is_file() for path in paths), row
