"""`make check` does not import the tests of which it would run none, and imports all others."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_folders_excluded_from_make_check_have_a_mark(pytestconfig: pytest.Config):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (folders,) = re.findall(r"addprefix --ignore tests/,([\w ]+)", makefile)
    conftest = pytestconfig.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    assert set(folders.split()) == set(conftest.MARKS_BY_FOLDER["program"])
