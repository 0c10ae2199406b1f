"""Copying through the terminal, and a prompt that is given to the user's editor."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from base64 import b64decode

import pytest

from paragone import InputError, ParagoneError
from paragone_tui.terminal.clipboard import MOST, can_be_copied, copy_sequence, edit_in_editor, give_to_tmux

TEXT = "Grüße 👩‍👩‍👧 \x1b[31m\n" * 100


def copied(sequence: str) -> str:
    """Return the text that a terminal takes from an OSC 52."""
    (found,) = re.findall("\x1b\\]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    return b64decode(found).decode()


def test_each_terminal_gets_a_sequence_that_it_forwards():
    sent = copy_sequence(TEXT, {"TERM": "xterm-256color"})
    assert copied(sent) == TEXT
    assert sent.count("\x1b") == 1, "the text itself cannot control the terminal"
    for environment in ({"TMUX": "/tmp/tmux-0/default,1,0", "TERM": "screen"}, {"TERM": "tmux-256color"}):
        plain, start, wrapped = copy_sequence(TEXT, environment).partition("\x1bPtmux;")
        assert start
        assert copied(plain) == TEXT, "for set-clipboard on"
        assert copied(wrapped.removesuffix("\x1b\\").replace("\x1b\x1b", "\x1b")) == TEXT
    for environment in ({"STY": "1.pts-0", "TERM": "screen"}, {"TERM": "screen-256color"}):
        sent = copy_sequence(TEXT, environment)
        pieces = re.findall("\x1bP(.*?)(?<!\x1b)\x1b\\\\", sent, re.DOTALL)
        assert copied("".join(pieces)) == TEXT
        assert len(pieces) == sent.count("\x1bP") > 1
        assert max(map(len, pieces)) <= 256


def test_a_text_too_long_for_terminals_is_not_copied():
    assert can_be_copied("x" * MOST)
    assert not can_be_copied("x" * (MOST + 1))
    assert not can_be_copied("ü" * (MOST // 2 + 1)), "bytes count, not characters"
    assert len(copy_sequence("x" * MOST, {})) <= 100_000 + len("\x1b]52;c;\x07")


def test_a_real_tmux_forwards_the_copy_to_its_terminal(tmp_path):
    """The terminal is a tmux, too, which keeps in its buffer what it is given."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")

    def tmux(server: str, *arguments: str) -> str:
        command = ["tmux", "-f", "/dev/null", "-S", str(tmp_path / server), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    copy = tmp_path / "copy"
    copy.write_text(
        copy_sequence(TEXT, {"TERM": "tmux-256color"}).partition("\x07")[2]
    )  # what is wrapped alone
    inner = f"tmux -f /dev/null -S {tmp_path / 'inner'} new-session 'while read go; do cat {copy}; done'"
    outer = ("start-server", ";", "set", "-g", "set-clipboard", "on", ";", "new-session", "-d")
    try:
        tmux("outer", *outer, f"env -u TMUX {inner} \\; set -g allow-passthrough on")
        until = time.monotonic() + 60
        while tmux("outer", "show-buffer") != TEXT and time.monotonic() < until:
            tmux("inner", "send-keys", "Enter")  # until it is attached, it has nobody to pass on to
        assert tmux("outer", "show-buffer") == TEXT
    finally:
        tmux("inner", "kill-server")
        tmux("outer", "kill-server")


async def test_a_tmux_that_hangs_is_ended_before_the_program_is(monkeypatch, tmp_path, started_processes):
    tmux = tmp_path / "tmux"
    tmux.write_text("#!/bin/sh\nexec sleep 1000\n")
    tmux.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMUX", "some server")
    giving = asyncio.create_task(give_to_tmux("text"))
    while not started_processes:
        await asyncio.sleep(0.01)
    giving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await giving
    assert started_processes[0].returncode == -signal.SIGKILL


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
    return asyncio.run(edit_in_editor(text, lent))


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


def test_the_editors_text_is_returned_and_its_file_deleted(editor, lent, events, tmp_path):
    editor('[ "$(stat -c %a "$2")" = 600 ] && printf "%s, and more\\n" "$(cat "$2")" > "$2"')
    assert edit("zwei\nZeilen", lent) == "zwei\nZeilen, and more"
    assert (events, files(tmp_path)) == (["given", "taken"], [])
    editor("exit 9", "EDITOR")
    editor(":", "VISUAL")
    assert edit("text", lent) is None, "VISUAL comes first, and this one changes nothing"


def test_the_prompt_and_the_saved_text_are_kept_when_the_editor_fails(editor, lent, events, tmp_path):
    editor("exit 3")
    with pytest.raises(ParagoneError, match=r"ended with the code 3\. The prompt stays as it was"):
        edit("text", lent)
    assert (events, files(tmp_path)) == (["given", "taken"], [])
    editor('echo saved > "$2"; exit 3')
    with pytest.raises(ParagoneError, match=r"The text that the editor saved is in .*prompt-"):
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
def test_without_an_editor_the_terminal_is_not_lent(editor, lent, events, monkeypatch, value, said):
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
def test_an_editor_that_leaves_no_text_raises_an_error(editor, lent, events, tmp_path, script, said, keeps):
    editor(script)
    with pytest.raises(ParagoneError) as caught:
        edit("text", lent)
    assert said in caught.value.message
    assert events == ["given", "taken"]
    assert ("The text that the editor saved is in" in caught.value.hint) == keeps
    assert [path.is_file() for path in tmp_path.glob("prompt-*") if not path.is_dir()] == [True] * keeps


async def test_cancelling_ends_the_editor_and_keeps_the_saved_text(
    editor, lent, events, tmp_path, started_processes
):
    editor('echo saved > "$2"; echo $$ > pid.new; mv pid.new pid; exec sleep 600')
    with contextlib.chdir(tmp_path):
        editing = asyncio.create_task(edit_in_editor("text", lent))
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
