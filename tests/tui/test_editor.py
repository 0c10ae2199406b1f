"""A prompt is given to the user's editor and comes back, or stays as it was."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from paragone import InputError, ParagoneError
from paragone_tui.terminal.clipboard import edited


@pytest.fixture
def events() -> list[str]:
    """What happened to the terminal."""
    return []


@pytest.fixture
def lent(events):
    @contextlib.contextmanager
    def lend():
        events.append("given")
        try:
            yield
        finally:
            events.append("taken")

    return lend


def edit(text, lent):
    return asyncio.run(edited(text, lent))


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Set the editor: a shell script whose first argument is the file."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("VISUAL", raising=False)

    def be(script: str, variable: str = "EDITOR") -> None:
        path = tmp_path / "an editor"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setenv(variable, f"'{path}' --wait")

    return be


def files(tmp_path):
    return [path.name for path in tmp_path.glob("prompt-*")]


def test_the_text_of_the_editor_comes_back_and_the_file_is_gone(editor, lent, events, tmp_path):
    editor('[ "$(stat -c %a "$2")" = 600 ] && printf "%s, and more\\n" "$(cat "$2")" > "$2"')
    assert edit("zwei\nZeilen", lent) == "zwei\nZeilen, and more"
    assert (events, files(tmp_path)) == (["given", "taken"], [])
    editor("exit 9", "EDITOR")
    editor(":", "VISUAL")
    assert edit("text", lent) is None, "VISUAL comes first, and this one changes nothing"


def test_an_editor_that_fails_leaves_the_prompt_and_what_it_saved(editor, lent, events, tmp_path):
    editor("exit 3")
    with pytest.raises(ParagoneError, match=r"ended with the code 3\. The prompt stays as it was"):
        edit("text", lent)
    assert (events, files(tmp_path)) == (["given", "taken"], [])
    editor('echo saved > "$2"; exit 3')
    with pytest.raises(ParagoneError, match=r"What the editor saved is in .*prompt-"):
        edit("text", lent)
    (kept,) = files(tmp_path)
    assert (tmp_path / kept).read_text() == "saved\n"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "No editor is set. "),
        ("no-such-editor -w", "The editor 'no-such-editor -w' cannot be started. "),
        ("vi 'x", "cannot be started"),
    ],
)
def test_without_an_editor_the_terminal_is_not_given_away(editor, lent, events, monkeypatch, value, said):
    monkeypatch.setenv("EDITOR", value)
    with pytest.raises(InputError) as error:
        edit("text", lent)
    assert said in str(error.value)
    assert events == []


@pytest.mark.parametrize(
    ("script", "said", "keeps"),
    [
        ('rm "$2"; mkfifo "$2"', "is not a regular file. The prompt stays as it was.", False),
        ('rm "$2"; mkdir "$2"', "cannot be read: Is a directory. The prompt stays as it was.", False),
        ('head -c 17000000 /dev/zero > "$2"', "is larger than 16 MiB. The prompt stays as it was.", True),
    ],
)
def test_what_an_editor_leaves_instead_of_a_text(editor, lent, events, tmp_path, script, said, keeps):
    editor(script)
    with pytest.raises(ParagoneError) as caught:
        edit("text", lent)
    assert said in caught.value.sentence
    assert events == ["given", "taken"]
    assert ("What the editor saved is in" in caught.value.hint) == keeps
    assert [path.is_file() for path in tmp_path.glob("prompt-*") if not path.is_dir()] == [True] * keeps


async def test_a_cancel_ends_the_editor_and_keeps_what_it_saved(
    editor, lent, events, tmp_path, started_processes
):
    editor('echo saved > "$2"; echo $$ > pid.new; mv pid.new pid; exec sleep 600')
    with contextlib.chdir(tmp_path):
        editing = asyncio.create_task(edited("text", lent))
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.01)
    (process,) = started_processes
    assert process.pid == int((tmp_path / "pid").read_text())
    editing.cancel()
    await asyncio.gather(editing, return_exceptions=True)
    assert await asyncio.wait_for(process.wait(), 20) != 0
    assert events == ["given", "taken"]
    (kept,) = files(tmp_path)
    assert (tmp_path / kept).read_text() == "saved\n"
