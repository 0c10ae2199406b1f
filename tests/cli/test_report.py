"""`paragone report`: from the history to a file."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.workbench.conversation_writer import LARGE, ConversationWriter
from tests.workbench.report_subjects import add_experiment

from paragone.texts import install_command
from paragone_workbench.paths import history_file
from paragone_workbench.store import Store

from .conftest import paragone, said


@pytest.fixture
def history(home: Path) -> None:
    """A history with the experiment e1 and the conversation c1."""
    with contextlib.closing(Store.open()) as store:
        add_experiment(store, {0: ("It is red.", "It is blue."), 1: ("Yes.", "Yes.")})
        writer = ConversationWriter(store, "Why is it so?")
        for lane in (writer.lane(), writer.lane(LARGE)):
            writer.answer(writer.conversation.prompts[0], lane, "Because.")


def test_each_format_is_written(history, tmp_path):
    begin = {"e1.html": "<!DOCTYPE html>", "c1.md": "# ", "c1.csv": "run,", "c1.json": '{"paragone_document"'}
    for name, beginning in begin.items():
        done = paragone("report", name[:2], "--to", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (0, b"")
        assert said(done).startswith(f"paragone: {tmp_path / name} is written (")
        written = (tmp_path / name).read_text()
        assert written.lstrip().startswith(beginning)
        assert "Because." in written or "<mark>blue</mark>" in written


def test_a_suite_is_written_as_a_report(tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        '{"prompt": "One", "assertions": [{"type": "contains", "value": "?"}]}\n{"prompt": "<b>Two"}\n'
    )
    paragone("suite", "run", str(prompts), "--engines", "rogue:steady", "rogue:crash", "--repeat", "2")
    done = paragone("report", "e1", "--to", str(tmp_path / "report.html"))
    assert done.returncode == 0, said(done)
    page = (tmp_path / "report.html").read_text()
    head = "2 engines · 2 prompts · 2 repetitions"
    assert all(text in page for text in (head, "Pass rate", "failed", "&lt;b&gt;Two", "1 more repetition"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "No experiment and no conversation was named."),
        (("e1",), "A report needs a file to be written to."),
        (("e1", "--to", "r.pdf"), "The format of r.pdf is unknown"),
        (("e1", "--to", "n" * 6000), "n" * 6000 + " cannot be written: File name too long."),
        (("e1", "--to", "history.json"), "history.json is a file that the program reads."),
        (("e1", "--to", "protected.md"), "protected.md is write-protected."),
        (("e1", "--to", "no/r.md"), "The folder no does not exist."),
        (
            ("e1", "--to", "old.md"),
            "old.md exists already.\nName another file, or add --force to replace this one.",
        ),
        (("e7", "--to", "r.md"), "There is no experiment e7 in the history."),
        (("\x1b[1m", "--to", "r.md"), "'␛[1m' is not the id of an experiment or a conversation."),
    ],
)
def test_mistakes_are_reported_in_messages(history, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "protected.md").touch(0o444)
    (tmp_path / "old.md").touch()
    (tmp_path / "history.json").symlink_to(history_file())
    before = sorted(os.listdir(tmp_path))
    done = paragone("report", *argv)
    assert done.returncode == 2
    assert said(done).startswith(f"paragone: {message}")
    if "is not the id" in message or not argv:
        assert "The newest are: e1 (" in said(done)
    assert sorted(os.listdir(tmp_path)) == before


def test_force_replaces_a_file(history, tmp_path):
    (tmp_path / "r.md").write_text("old")
    assert paragone("report", "e1", "--to", str(tmp_path / "r.md"), "--force").returncode == 0
    assert (tmp_path / "r.md").read_text().startswith("# ")


def test_the_error_for_a_damaged_record_has_its_id(history, tmp_path):
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as database:
        (number,) = database.execute("SELECT min(number) FROM cell").fetchone()
        database.execute("UPDATE cell SET assertions = '[7]' WHERE number = ?", (number,))
    done = paragone("report", "e1", "--to", str(tmp_path / "r.md"))
    assert done.returncode == 1
    assert said(done).startswith(
        f"paragone: The result of the assertions of run {number} cannot be read: the record in the"
    )
    assert not (tmp_path / "r.md").exists()


def test_missing_libraries_are_reported_only_for_formats_that_need_them(history, tmp_path):
    program = f"""
import os, sys
from paragone_cli.main import main

for name, libraries in ("csv", ()), ("md", ("scipy", "jinja2")):
    argv = ["report", "e1", "--to", f"{tmp_path}/r.{{name}}"]
    for library in libraries:
        sys.modules[library] = None
        assert main(argv) == 2
        assert not os.path.exists(argv[-1])
        del sys.modules[library]
    assert main(argv) == 0
    assert {{"scipy", "jinja2"}} & {{it.partition(".")[0] for it in sys.modules}} == set(libraries), name
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    for missing in ("scipy", "jinja2"):
        assert f"need the package {missing}, which is not installed.\n" in said(done)
    for packages in (("numpy", "scipy"), ("jinja2",)):
        assert f"Install it with: {install_command(*packages)}\n" in said(done)
