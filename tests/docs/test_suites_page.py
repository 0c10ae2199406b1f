"""docs/suites.md: its files are read, and the table has all assertions with their options."""

import json
import re

import pytest
from tests.docs.existing import ROOT

from paragone.discovery import discover_assertions
from paragone.options import describe
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.suite_file import KEYS, read_suite

PAGE = (ROOT / "docs" / "suites.md").read_text()
FILES = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
ASSERTIONS = discover_assertions().assertions


def rows(title: str) -> list[tuple[str, ...]]:
    """Return the rows of the first table below a heading."""
    text = PAGE.partition(f" {title}\n")[2].partition("\n#")[0]
    table = [
        tuple(cell.strip().replace("\\|", "|") for cell in line.strip("|").split(" | "))
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return table[2:]


@pytest.mark.parametrize("name", ["first.jsonl", "sums.csv", "styles.toml"])
def test_the_example_files_are_read(tmp_path, name):
    (tmp_path / name).write_text(FILES[name])
    suite = read_suite(tmp_path / name, load_assertions())
    assert suite.problems == ()
    assert len(suite.prompts) >= 2
    assert all(prompt.assertions for prompt in suite.prompts)


def test_the_example_files_have_the_described_prompts(tmp_path):
    (tmp_path / "sums.csv").write_text(FILES["sums.csv"])
    one, other = read_suite(tmp_path / "sums.csv", load_assertions()).prompts
    assert (one.text, one.expected, one.tags) == ("What is 17 + 25?", "42", ("sums", "easy"))
    assert [spec.type for spec in one.assertions] == ["number"]
    assert [spec.type for spec in other.assertions] == ["equals"]


def test_every_key_of_a_record_is_on_the_page():
    assert [row[0].strip("| `") for row in rows("The file")] == list(KEYS)


def test_every_assertion_is_on_the_page():
    listed = {name.strip("| `"): summary for name, summary, _ in rows("Assertions")}
    assert listed == {name: assertion.summary for name, assertion in ASSERTIONS.items()}


@pytest.mark.parametrize("name", sorted(ASSERTIONS))
def test_every_option_is_on_the_page(name):
    (options,) = (cells[2] for cells in rows("Assertions") if cells[0].strip("| `") == name)
    for info in describe(ASSERTIONS[name].options):
        default = "none" if info.default is None else f"`{json.dumps(info.default)}`"
        assert f"`{info.name}` {default}" in options
