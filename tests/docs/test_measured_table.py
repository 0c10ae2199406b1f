"""`make bench` prints a table of the README row by row, each with the commit that was measured."""

import re
import subprocess
from pathlib import Path

import pytest
from bench import __main__ as bench
from bench.row import HEADING, Row

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def row(figure, *, holds=True):
    return Row(figure=figure, measured="1 ms", baseline="2 ms", budget="≤ 3 ms", holds=holds)


@pytest.fixture
def measures(monkeypatch):
    found: dict[str, object] = {}
    monkeypatch.setattr(bench, "MEASURES", found)
    monkeypatch.setattr(bench, "_commit", lambda: "abc1234")
    return found


def test_each_row_is_printed_as_soon_as_it_is_measured(measures, capsys):
    printed = []

    def two():
        yield row("first")
        printed.append(capsys.readouterr().out)
        yield row("second")

    measures["two"] = two
    assert bench.main([]) == 0
    assert printed[0].endswith(f"{HEADING}\n| first | 1 ms | 2 ms | ≤ 3 ms | yes | abc1234 |\n")
    assert capsys.readouterr().out.startswith("| second | 1 ms | 2 ms | ≤ 3 ms | yes | abc1234 |\n\nLoad ")


def test_a_failing_measurement_keeps_the_other_rows(measures, capsys):
    def half():
        yield row("half")
        raise OSError("There is no\nsuch | program.")

    def broken():
        raise ValueError("broken")

    measures.update(half=half, broken=broken, last=lambda: row("last"))
    assert bench.main([]) == 1
    out, err = capsys.readouterr()
    assert [
        line.split(" | ")[:3] for line in out.partition(HEADING)[2].split("\n\n")[0].splitlines()[1:]
    ] == [
        ["| half", "1 ms", "2 ms"],
        ["| half", "failed", "OSError: There is no such / program."],
        ["| broken", "failed", "ValueError: broken"],
        ["| last", "1 ms", "2 ms"],
    ]
    assert "Traceback" in err


@pytest.mark.parametrize(("holds", "status"), [(True, 0), (None, 0), (False, 1)])
def test_the_exit_code_shows_whether_all_budgets_are_met(measures, holds, status):
    measures["one"] = lambda: row("one", holds=holds)
    assert bench.main(["one"]) == status


def test_the_commit_is_marked_if_the_folder_has_changes(monkeypatch, tmp_path):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert bench._commit() == "unknown"
    git("init", "-q")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-qm", "Add a file")
    assert re.fullmatch(r"[0-9a-f]{7}", bench._commit())
    (tmp_path / "file").write_text("b")
    assert re.fullmatch(r"[0-9a-f]{7}\+", bench._commit())


def test_each_row_of_the_readme_names_its_commit():
    table = README[README.index(HEADING) + len(HEADING) :].partition("\n\n")[0].strip().splitlines()
    assert len(table) > 20
    for line in table:
        assert re.search(r" \| (yes|NO|–) \| [0-9a-f]{7} \|$", line), line
