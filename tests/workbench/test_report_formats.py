"""Markdown and CSV, and writing the file."""

import csv
import errno
import io
import os
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.workbench.history_file import open_store
from tests.workbench.report_subjects import add_experiment, conversation

from paragone import InputError, Json, ParagoneError
from paragone_workbench.engines.registry import Registry
from paragone_workbench.reporting.conversation import conversation_report
from paragone_workbench.reporting.file import (
    COLUMNS,
    conversation_rows,
    csv_pieces,
    find_subject,
    format_of,
    report_pieces,
    rows_of,
    write,
)
from paragone_workbench.text import visible

# Markdown

marked_up = st.lists(
    st.sampled_from(["`", "```", "~~~", "\n", "#", " ", "a", "<b>", "|", "- ", "]("]), max_size=8
).map("".join)


def markdown(saved) -> str:
    return "".join(report_pieces(conversation_report(saved, lambda _: None), "md", 0.0))


@settings(max_examples=25)
@given(prompt=marked_up, first=marked_up, second=marked_up)
def test_answers_stay_in_their_fences(prompt, first, second):
    saved = conversation("x", first, second)
    saved.conversation.prompts[0].text = prompt
    tokens = MarkdownIt("commonmark").parse(markdown(saved))
    fences = [token.content for token in tokens if token.type == "fence"]
    assert fences == [f"{visible(text)}\n" for text in (prompt, first, second)]


@pytest.mark.parametrize("title", ["# a `b` *c* <d> [e](f) | ~g~ \\", "a\n\n- b", "&lt; $x$"])
def test_titles_are_escaped(title):
    tokens = MarkdownIt("commonmark").parse(markdown(conversation(title, "x")))
    heading = next(token for token in tokens if token.type == "inline")
    assert {child.type for child in heading.children} <= {"text", "text_special"}
    assert "".join(child.content for child in heading.children) == f"{' '.join(title.split())} (c7)"


# CSV


def table(rows) -> list[list[str]]:
    return list(csv.reader(io.StringIO("".join(csv_pieces(rows)), newline=""), strict=True))


def test_an_experiment_has_a_row_for_each_run(home):
    failed: Json = {"index": 0, "type": "contains", "passed": False, "reason": "It does not."}
    with closing(open_store()) as store:
        experiment = add_experiment(
            store, {0: ("a", "b"), 4: ("c", "d")}, assertions={4: failed}, tags={4: ("x", "y")}
        )
        head, *rows = table(rows_of(store, find_subject(store, f"e{experiment.number}"), Registry().find))
    assert head == list(COLUMNS)
    found = [dict(zip(head, row, strict=True)) for row in rows]
    assert [(it["prompt_index"], it["engine"], it["text"]) for it in found] == [
        ("0", "smol", "a"), ("0", "large", "b"), ("4", "smol", "c"), ("4", "large", "d"),
    ]  # fmt: skip
    assert (found[3]["passed"], found[3]["tags"]) == ("false", "x; y")
    assert found[3]["failed_assertions"] == "contains: It does not."
    assert (found[0]["ttft_s"], found[0]["seed"], found[0]["completion_tokens"]) == ("0.25", "3", "12")
    assert (found[0]["passed"], found[0]["waited_s"], found[0]["prompt"]) == ("", "1.5", "Prompt at 0")


@settings(max_examples=50)
@given(text=st.text(alphabet=st.characters()))
def test_any_text_survives_in_a_cell(text):
    written = "".join(csv_pieces(conversation_rows(conversation("x", text), Registry().find)))
    written.encode()
    assert "\0" not in written
    _, row = csv.reader(io.StringIO(written, newline=""), strict=True)
    cell = dict(zip(COLUMNS, row, strict=True))["text"]
    assert len(cell.removeprefix("'")) == len(text.removeprefix("'"))
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", ["=1+1", "@sum(a1)", "\t=1", "＝1"])
def test_texts_that_look_like_formulas_are_escaped_for_spreadsheets(text):
    _, row = table(conversation_rows(conversation(text, text), Registry().find))
    cells = dict(zip(COLUMNS, row, strict=True))
    assert (cells["text"], cells["prompt"]) == (f"'{text}", f"'{text}")


# The file


def test_a_pipe_or_a_device_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.html"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match=r"pipe\.html is not a regular file"):
        format_of(pipe)
    link = tmp_path / "link.html"
    link.symlink_to(pipe)
    with pytest.raises(InputError, match=r"link\.html is not a regular file"):
        format_of(link)


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    yield


def refused():
    yield "begun"
    raise InputError("No.")


@pytest.mark.parametrize("pieces", [full, refused])
def test_a_failure_leaves_the_earlier_file(tmp_path, pieces):
    path = tmp_path / "old.md"
    path.write_text("old")
    with pytest.raises(ParagoneError):
        write(path, pieces())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["old.md"]


def test_an_earlier_file_is_replaced_and_links_are_kept(tmp_path):
    target = tmp_path / "old.md"
    target.write_text("old")
    link = tmp_path / "link.md"
    link.symlink_to(target)
    assert write(link, ["né", "w"]) == 4
    assert link.is_symlink()
    assert target.read_bytes() == "néw".encode()
    assert sorted(os.listdir(tmp_path)) == ["link.md", "old.md"]
