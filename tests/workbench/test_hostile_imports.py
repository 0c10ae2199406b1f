"""Files of conversations that somebody made to break the program: each is imported or refused in a sentence."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import zipfile

import pytest
from tests.workbench.test_importing import imported as imported_from
from tests.workbench.test_importing import node, store, written  # noqa: F401 (a fixture)

from paragone import InputError
from paragone_workbench.files import chat
from paragone_workbench.files import other_programs as databases


@pytest.fixture
def imported(store, tmp_path):  # noqa: F811
    """A function that imports a file, or data as a file of JSON, and returns its conversations."""
    return lambda data: imported_from(
        store, data if isinstance(data, type(tmp_path)) else written(tmp_path, data)
    )


def chatgpt(nodes):
    return {
        "mapping": {"first": node(None, "user", "hi"), **nodes},
        "title": "A title",
        "conversation_id": "c",
    }


def chain(count: int, size: int):
    """Answers in as many messages, each following the one before."""
    names = ["first", *map(str, range(count))]
    return chatgpt(
        {name: node(before, "assistant", "x" * size) for before, name in itertools.pairwise(names)}
    )


def test_an_answer_in_so_many_messages_that_it_would_take_gigabytes(imported):
    """Thirty megabytes of such messages took a hundred gigabytes."""
    with pytest.raises(InputError, match="'A title' has an answer in too many messages"):
        imported(chain(1500, 2000))


def test_more_models_side_by_side_than_anybody_compares(imported, monkeypatch):
    monkeypatch.setattr(chat, "MOST_LANES", 20)
    answers = {str(n): node("first", "assistant", "x", metadata={"model_slug": f"m{n}"}) for n in range(21)}
    with pytest.raises(InputError, match="has answers of more than 20 models side by side"):
        imported(chatgpt(answers))


def test_parts_of_wrong_types_and_texts_that_nothing_can_show(imported):
    (saved,) = imported(
        chatgpt(
            {
                "a": {"parent": 5, "message": {"author": [], "content": {"parts": {"x": 1}}}},
                "b": node("first", "assistant", "\udfff\0\x1b[2J", create_time="soon", metadata=5),
                "c": node("c", "user", "its own parent"),
            }
        )
    )
    (run,) = saved.runs
    assert "[2J" in run.text


def test_a_zip_archive_is_named(imported, tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b" " * 10**7)
    with pytest.raises(InputError) as caught:
        imported(path)
    assert caught.value.sentence.endswith("export.zip is a zip archive.")
    assert caught.value.hint == "Unpack it, and import conversations.json in it."


LLM = """
    CREATE TABLE conversations (id, name);
    CREATE TABLE responses (id, conversation_id, model, prompt, system, datetime_utc, response{});
"""
MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
CROSS = f"""
    {MANY} INSERT INTO conversations SELECT 'a', 'n' FROM n;
    {MANY} INSERT INTO responses SELECT i, 'a', 'm', 'p', NULL, '', 'r' FROM n;
"""


@pytest.fixture
def database(tmp_path):
    """A function that makes a database by statements of SQL."""

    def made(statements: str):
        path = tmp_path / "logs.db"
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(statements)
        return path

    return made


@pytest.mark.parametrize(
    "rows",
    [
        "INSERT INTO conversations VALUES (5, x'ff'); INSERT INTO responses VALUES (7.5, 5, x'00', 5, 6, 9, x'fffe');"
    ],
    ids=["types"],
)
def test_values_of_other_types(imported, database, rows):
    (saved,) = imported(database(LLM.format("") + rows))
    assert len(saved.conversation.prompts) == 1


def test_a_database_that_computes_without_end(imported, database, monkeypatch):
    monkeypatch.setattr(databases, "LONGEST_S", 0.0)
    with pytest.raises(InputError, match="cannot be read: reading it takes more than 0 seconds of CPU time"):
        imported(database(LLM.format("") + CROSS))
