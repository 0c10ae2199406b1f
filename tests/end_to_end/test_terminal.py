"""The terminal's view of engines that stream, crash, and write control codes."""

import contextlib
import fcntl
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from bench.terminal import Terminal
from hostile_server import OLLAMA, HostileServer
from loopback_server import running_in_thread
from tests.end_to_end.program import PROGRAM, until

from paragone_workbench.experiments.document import read_document
from paragone_workbench.paths import history_file

SLOW = ("--set", "rate=40", "--set", "max_tokens=4000")


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"word(\d+)", text)]


def test_nothing_is_written_when_nothing_happens(start):
    program = start("rogue:steady", "rogue:wide")
    program.until(lambda text: text.count("ready") == 2, "both engines load")
    program.type("hello\r")
    program.until(lambda text: text.count("done") == 2, "both lanes answer")
    program.terminal.read_until_quiet(0.5)
    assert program.terminal.read(1) == 0
    assert program.leave() == 0


@pytest.mark.usefixtures("new_interpreters")
def test_offline_from_the_start(start):
    program = start("--offline", "rogue:steady", "ollama:m")
    program.until(
        lambda text: "ready" in text and "failed" in text, "the local engine loads, the other does not"
    )
    program.sees("does not contact", "offline   enter send")
    program.type("hello\r")
    program.sees("done")
    if sys.platform == "linux":
        assert "Seccomp:\t2" in Path(f"/proc/{program.process.pid}/status").read_text()
    program.type("\x1bO")
    program.sees("Offline until the program")
    assert program.leave() == 0


def test_going_offline_cuts_an_answer_of_a_server(start):
    cut = threading.Event()

    async def stream(exchange):
        await exchange.begin()
        await exchange.say("and so ", "on ")
        await exchange.gone()
        cut.set()

    with running_in_thread(HostileServer(OLLAMA)) as server:
        server.on_chat = stream
        program = start(f"ollama:m@{server.url}")
        program.sees("ready")
        program.type("go\r")
        program.sees("and so on")
        program.type("\x1bO")
        assert cut.wait(60)
        program.sees("failed", "offline   enter send")
        assert program.leave() == 0


def test_text_from_before_a_kill_is_restored(start):
    program = start("rogue:steady", "rogue:steady", *SLOW)
    program.until(lambda text: text.count("ready") == 2, "both engines load")
    program.type("count please\r")
    program.sees("word60")
    seen = max(numbers(program.terminal.text))
    workers = program.workers()
    assert len(workers) == 2
    program.process.kill()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive, "the workers are still running after the program ended"

    again = start("rogue:steady")
    again.sees("ready")
    again.type("\x0f")
    again.sees("count please", "2 ")
    again.type("\r")
    again.until(lambda text: text.count("Interrupted") == 2, "both lanes say so")
    saved = max(numbers(again.terminal.text))
    assert saved >= seen - 40, "a kill loses at most the last second"
    again.until(lambda text: text.count("ready") == 2, "the engines load")
    again.type("go on\r")
    again.until(lambda text: text.count("go on") == 2, "the conversation goes on")
    assert again.leave() == 0


def test_what_is_written_survives_a_kill(start):
    program = start("rogue:steady")
    program.sees("ready")
    program.type("not sent yet")

    def is_saved():
        with contextlib.closing(sqlite3.connect(history_file())) as history:
            return history.execute("SELECT text FROM draft").fetchall() == [("not sent yet",)]

    until(is_saved, "the draft is saved")
    program.process.kill()
    again = start("rogue:steady")
    again.sees("not sent yet")
    again.type("\r")
    again.sees("done")
    assert again.leave() == 0
    assert not is_saved()


def test_an_edit_that_was_sent_right_before_a_kill_is_not_written_again(start, home):
    config = home / "config.toml"
    config.write_text(
        '[engines.e]\nbackend = "rogue"\nmodel = "steady"\nmax_tokens = 1\n[lanes]\nstart = ["e"]\n'
    )
    program = start("--config", str(config))
    program.sees("ready")
    program.type("first\r")
    program.sees("done")
    program.type("before")
    with contextlib.closing(sqlite3.connect(history_file())) as history:

        def texts(table):
            return {text for (text,) in history.execute(f"SELECT text FROM {table}")}

        until(lambda: texts("draft") == {"before"}, "the draft is saved")
        program.type("\x1bC")
        program.sees("Editing prompt 1 of 1")
        program.type(" again")
        until(lambda: texts("draft") == {"first again"}, "the edit is saved")
        program.type("\r")
        until(lambda: "first again" in texts("prompt"), "the edit is in the history")
        program.process.kill()
        assert texts("draft") == {"before"}
    again = start("--config", str(config))
    again.sees("before")
    assert "Editing" not in again.terminal.text
    assert again.leave() == 0


def test_control_codes_of_a_model_are_shown_as_text(start):
    program = start("rogue:escapes")
    program.sees("ready")
    before = len(program.terminal.output)
    program.type("go\r")
    program.sees("done")
    program.terminal.read_until_quiet(0.5)
    written = bytes(program.terminal.output[before:])
    assert b"\x1b]0;" not in written
    assert b"\x1b[2J" not in written
    assert b"\x1b[?1049l" not in written
    assert b"\x9b5m" not in written
    assert "[bold]mark[/bold]" in program.terminal.text
    assert "owned" not in program.terminal.title
    assert program.leave() == 0


def test_a_crash_is_reported_and_a_key_restarts_the_engine(start):
    program = start("rogue:abort", "rogue:steady", "--set", "rate=40")
    program.until(lambda text: text.count("ready") == 2, "both engines load")
    program.type("go\r")
    program.sees("SIGABRT", "GGML_ASSERT", "f7 starts")
    program.until(lambda text: "done" in text, "the other lane finishes")
    program.type("\x1b[18~")
    program.until(lambda text: "crashed" not in text.splitlines()[0], "the engine is there again")
    assert program.leave() == 0


def test_the_terminal_can_be_resized_during_an_answer(start):
    program = start("rogue:wide", "rogue:steady", "--set", "rate=100", "--set", "max_tokens=200")
    program.until(lambda text: text.count("ready") == 2, "both engines load")
    program.type("go\r")
    program.sees("word20")
    for columns, rows in ((60, 15), (300, 100), (80, 24), (61, 15), (120, 30)):
        program.terminal.resize(columns, rows)
        program.terminal.read(0.05)
    program.until(lambda text: text.count("done") == 2, "both lanes finish")
    program.sees("word199", "語199😀")
    assert program.leave() == 0


def test_everything_goes_without_function_keys(start):
    program = start("rogue:steady", "rogue:steady", *SLOW, columns=80, rows=24)
    program.until(lambda text: text.count("ready") == 2, "both engines load")
    program.type("?")
    program.sees("Help", "lane-mode")
    program.type("q")
    program.until(lambda text: "Help" not in text, "a letter closes the help")
    program.type("why?\r")
    program.until(lambda text: text.count("why?") == 2, "in a prompt it is text")
    program.sees("word20")
    program.type("\x06lz")  # at once: ctrl+f, and two letters for the lane
    program.sees("LANE", "2/2")
    program.type("s")
    program.sees("stopped")
    program.type("zh")
    program.until(lambda text: text.count("writing") == 1, "the other lane goes on")
    program.type("\x03")
    program.until(lambda text: text.count("stopped") == 2, "ctrl+c stops all lanes")
    program.sees("^q quits")
    program.type("ihello")
    program.until(lambda text: "hello" in text and "LANE" not in text, "back in the prompt")
    program.type("\x15\x1b[A")
    program.until(lambda text: text.splitlines()[-2].strip() == "why?", "the prompt is recalled")
    program.type("\x1b")
    program.sees("LANE")
    program.type("/")
    program.sees("Earlier conversations")
    assert program.leave() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_restores_the_terminal(start, number):
    ended_by(start, number)


@pytest.mark.usefixtures("new_interpreters")
def test_a_signal_ends_the_interpreter_and_restores_the_terminal(start):
    ended_by(start, signal.SIGTERM)


def ended_by(start, number):
    """End a program by a signal during an answer. Its worker must end too."""
    program = start("rogue:steady", *SLOW)
    cooked = program.terminal.modes
    program.sees("ready")
    program.type("go\r")
    program.sees("word5")
    assert program.terminal.modes != cooked
    assert program.ends(lambda: program.process.send_signal(number)) == 128 + number
    program.terminal.read_until_quiet(0.2)
    assert b"\x1b[?1049l" in program.terminal.output
    assert program.terminal.modes == cooked


def test_ctrl_z_returns_to_the_shell_and_fg_to_the_screen(tmux, home):
    """A session of a shell, whose job control gives the program a process group of its own."""
    editor = home / "editor"
    editor.write_text('#!/bin/sh\necho in the editor\nread more\nprintf ", $more" >> "$1"\n')
    editor.chmod(0o700)
    shell = f"env PS1='shell> ' VISUAL={editor} bash --norc -i"
    tmux("new-session", "-d", "-x", "80", "-y", "24", shell)

    def sees(text: str) -> None:
        until(lambda: text in tmux("capture-pane", "-p"), text)

    sees("shell>")
    tmux("send-keys", shlex.join([*PROGRAM, "rogue:steady"]), "Enter")
    sees("ready")
    tmux("send-keys", "-l", "half a prompt")
    sees("half a prompt")
    for _ in range(2):
        tmux("send-keys", "C-z")
        sees("Stopped")
        assert "ready" not in tmux("capture-pane", "-p")
        tmux("send-keys", "clear; echo $((6 * 7))", "Enter")  # the next "Stopped" is a new one
        sees("42")
        tmux("send-keys", "fg", "Enter")
        sees("half a prompt")
        sees("ready")
    tmux("send-keys", "C-g")
    sees("in the editor")
    tmux("send-keys", "C-c")  # for the editor alone
    sees("The editor editor")
    sees("half a prompt")
    tmux("send-keys", "C-g")
    sees("in the editor")
    tmux("send-keys", "C-z")
    sees("Stopped")
    tmux("send-keys", "fg", "Enter")
    sees("editor")
    tmux("send-keys", "and a half", "Enter")
    sees("half a prompt, and a half")
    tmux("send-keys", "C-q")
    sees("shell>")
    tmux("send-keys", "echo status=$?", "Enter")
    sees("status=0")


def test_a_letter_right_after_escape_passes_tmux_as_one_after_a_while(tmux, command, home):
    """A tmux in a tmux, which waits for the letter as it does for a person: half a second."""
    inner = ["tmux", "-S", str(home / "inner"), "-f", "/dev/null"]
    session = ["env", "-u", "TMUX", *inner, "new-session", str(command), "rogue:steady"]
    tmux("new-session", "-d", "-x", "80", "-y", "24", shlex.join(session))

    def sees(text: str) -> None:
        until(lambda: text in tmux("capture-pane", "-p"), text)

    try:
        sees("ready")
        tmux("send-keys", "Escape")
        tmux("send-keys", "p")
        sees("does not report")
        tmux("send-keys", "Escape")
        tmux("send-keys", "u")
        sees("blind")
        tmux("send-keys", "one two")
        tmux("send-keys", "M-Left")
        tmux("send-keys", "x")
        sees("one xtwo")
    finally:
        subprocess.run([*inner, "kill-server"], check=False)


def test_ctrl_z_without_a_shell_says_so(start):
    program = start("rogue:steady")
    program.sees("ready")
    program.type("\x1a")
    program.sees("There is no shell to return to")
    assert program.leave() == 0


def test_a_terminal_that_prints_only_lines_gets_a_sentence(home):
    with Terminal(PROGRAM, env={"TERM": "dumb"}) as terminal:
        terminal.read_until("xterm-256color")
        assert terminal.process.wait(60) == 2
        assert "paragone ask" in " ".join(terminal.text.split())
        assert b"\x1b" not in terminal.output


def test_the_program_ends_if_the_terminal_closes_without_a_signal(start):
    program = start("rogue:steady", *SLOW)  # no controlling terminal, so the program gets no SIGHUP
    program.sees("ready")
    program.type("go\r")
    program.sees("word5")
    workers = program.workers()
    program.terminal.hang_up()
    _, alive = psutil.wait_procs([program.process, *workers], timeout=15)
    assert not alive


def test_what_cannot_be_saved_is_written_to_a_file_that_the_user_confirms(start, tmp_path):
    wanted, unwritable = tmp_path / "kept.json", tmp_path / "nowhere" / "kept.json"
    history_file().parent.mkdir(parents=True)
    with history_file().with_name("history.db.opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = start("rogue:steady")
        program.sees("ready")
        program.type("hello\r")
        program.sees("done")
        program.type("\x11")
        program.sees("File (enter: ")
        _, _, told = program.terminal.output.partition(b"\x1b[?1049l")
        assert b"paragone: 1 prompt and its answers could not be saved. The history in" in told
        program.type(f"{unwritable}\n")
        program.sees("does not exist")
        program.type(f"{wanted}\n")
        program.terminal.read_until_quiet(0.5)
        assert program.terminal.process.wait(60) == 0
    (recorded,) = read_document(wanted)
    assert recorded.messages[-1].text == "hello"
    assert recorded.result.text.startswith("word0 word1 ")
